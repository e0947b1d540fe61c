from __future__ import annotations

import asyncio
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from core.responses import read_head, read_one
from fakes.settings import make_settings
from fakes.worker import FakeWorker, get, hello

from fastserve._core.worker import Worker

Work = Callable[..., FakeWorker]


async def forever(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.get_running_loop().create_future()


def test_abort_closes_whatever_it_is_doing(work: Work) -> None:
    wire = work(forever)
    idle, busy, half = wire.connect(), wire.connect(), wire.connect()
    busy.feed(get())
    half.feed(b"GET")
    wire.call(wire.worker.abort)
    assert all(peer.transport.lost for peer in (idle, busy, half))
    assert len(wire.worker.connections) == 0
    assert len(wire.worker.tasks) == 1


def test_cancelled_tasks_are_let_go(work: Work) -> None:
    wire = work(forever)
    peer = wire.connect()
    peer.feed(get())
    wire.call(wire.worker.drain)
    for task in list(wire.worker.tasks):
        wire.call(task.cancel, "stop")
    assert read_one(peer.take()).status == 500
    assert len(wire.worker.tasks) == 0
    assert wire.messages == []


def test_requests_while_draining_get_the_last_word(work: Work) -> None:
    wire = work(hello())
    peer = wire.connect()
    peer.put(get())
    wire.loop.call_soon(wire.worker.drain)
    wire.settle()
    assert read_one(peer.take()).status == 200
    assert peer.transport.closed


def test_connections_made_while_draining(work: Work) -> None:
    wire = work(hello())
    wire.call(wire.worker.drain)
    response = read_one(wire.connect().feed(get()))
    assert (response.status, response.get(b"connection")) == (200, b"close")


def test_announced_drain_lets_an_idle_connection_ask_once_more(work: Work) -> None:
    wire = work(hello())
    idle, silent = wire.connect(), wire.connect()
    assert read_one(idle.feed(get())).get(b"connection") is None
    wire.call(wire.worker.announce_drain)
    assert not idle.transport.closed and not silent.transport.closed
    response = read_one(idle.feed(get()))
    assert (response.status, response.get(b"connection")) == (200, b"close")


def ended(peer: Any) -> bool:
    """Return whether the server has closed its side of a connection."""
    return peer.transport.closed or "write_eof" in peer.transport.calls


class TestStreamUnderWay:
    """The head has left before a drain, and so could not tell the client that the connection ends."""

    @pytest.fixture
    def end(self) -> asyncio.Event:
        return asyncio.Event()

    @pytest.fixture
    def wire(self, work: Work, end: asyncio.Event) -> FakeWorker:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
            await end.wait()
            await send({"type": "http.response.body", "body": b"ended"})

        return work(app, timeout_keep_alive=75)

    def finish(self, wire: FakeWorker, peer: Any, end: asyncio.Event) -> None:
        wire.call(end.set)
        assert peer.take().endswith(b"ended\r\n0\r\n\r\n")

    @pytest.mark.parametrize("replaced", [False, True])
    def test_announced(self, wire: FakeWorker, end: asyncio.Event, replaced: bool) -> None:
        asking, silent = wire.connect(), wire.connect()
        for peer in (asking, silent):
            assert read_head(peer.feed(get()))[0].get(b"connection") is None
        wire.call(wire.worker.announce_drain, 5)
        for peer in (asking, silent):
            self.finish(wire, peer, end)
            assert not peer.transport.closed
        last = read_one(asking.feed(get()))
        assert (last.status, last.get(b"connection")) == (200, b"close")
        assert ended(asking)
        wire.call(wire.worker.drain, replaced)
        assert silent.transport.closed is not replaced
        wire.advance(5.1)
        assert silent.transport.closed

    @pytest.mark.parametrize("replaced", [False, True])
    def test_draining(self, wire: FakeWorker, end: asyncio.Event, replaced: bool) -> None:
        asking, silent = wire.connect(), wire.connect()
        for peer in (asking, silent):
            peer.feed(get())
        wire.call(wire.worker.announce_drain, 5)
        wire.call(wire.worker.drain, replaced)
        for peer in (asking, silent):
            assert not peer.transport.closed
            self.finish(wire, peer, end)
            assert ended(peer) is not replaced
        if replaced:
            assert read_one(asking.feed(get())).get(b"connection") == b"close"
            wire.advance(5.1)
        assert ended(asking)
        assert ended(silent)

    def test_body_that_is_not_read_to_its_end(self, wire: FakeWorker, end: asyncio.Event) -> None:
        peer = wire.connect()
        peer.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12")
        wire.call(wire.worker.announce_drain, 5)
        self.finish(wire, peer, end)
        assert ended(peer)


@pytest.mark.parametrize("change", [{"settings": None}, {"state": None}, {"access": logging.getLogger()}])
def test_types(change: dict[str, Any]) -> None:
    loop = asyncio.new_event_loop()
    arguments = {"settings": make_settings(), "state": {}, "log": logging.getLogger().log, **change}
    with pytest.raises(TypeError):
        Worker(loop, forever, **arguments)
    loop.close()


def test_what_it_shows(work: Work) -> None:
    wire = work(forever, limit_concurrency=5, state={"a": 1})
    worker = wire.worker
    assert (worker.app, worker.loop, worker.access, worker.draining) == (forever, wire.loop, None, False)
    assert (worker.state, worker.settings.limit_concurrency) == ({"a": 1}, 5)


UPLOAD = """
import resource
import sys

sys.path[:0] = {path!r}
from fakes.worker import FakeWorker, hello


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        read, body = bytes(256_000), bytes(256_000)
        del read, body
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


worker = FakeWorker(hello)
faults()
print(faults())
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or "asan" in os.environ.get("LD_PRELOAD", ""),
    reason="other C libraries decide otherwise",
)
def test_memory_of_large_reads_is_kept() -> None:
    """An upload does not have the kernel clear the memory of each read anew."""
    path = [str(Path(__file__).parents[1])]
    command = [sys.executable, "-c", UPLOAD.format(path=path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 50  # thousands where nothing has freed a larger block before
