from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from core.responses import read_one
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
