"""What the thread of a WSGI application tells the event loop, and when the loop must be woken for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core.responses import read_one
from fakes.worker import FakeWorker, Peer, get

from fastserve._core.wsgi.call import WSGIApplication
from fastserve._core.wsgi.environ import Environs
from fastserve.wsgi.call import ServedCall
from fastserve.wsgi.files import FileWrapper

Work = Callable[..., FakeWorker]
Call = Callable[[], None]


class Threads:
    """In place of a pool; `plan` says of each call what is run, in a thread of its own, before submit() returns."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.kept: list[Call] = []
        self.plan: Callable[[], None] = self.run

    def submit(self, call: Call, loop: Any, alone: bool) -> None:
        assert alone
        self.kept.append(call)
        self.plan()

    def run(self) -> None:
        while self.kept:
            thread = threading.Thread(target=self.kept.pop(0))
            thread.start()
            thread.join()

    def keep(self) -> None:
        """Leave the call for a later run()."""

    def fail(self) -> None:
        """Give the call no thread, but run those that were kept."""
        self.kept.pop()
        self.run()
        raise RuntimeError("can't start new thread")


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def wire(work: Work, threads: Threads) -> Iterator[FakeWorker]:
    calls = WSGIApplication(app, threads, Environs(True, False, FileWrapper), ServedCall, FileWrapper)
    yield work(app, direct=calls)
    calls.close()


def put(wire: FakeWorker, path: str) -> Peer:
    peer = wire.connect()
    peer.put(get(path))
    wire.turn()
    return peer


def test_a_call_that_ends_while_it_is_handed_over_is_answered_at_once(wire: FakeWorker) -> None:
    for number in range(3):
        assert read_one(put(wire, f"/{number}").take()).body == b"/%d" % number


def test_it_wakes_nobody(wire: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: int) -> int:
        raise OSError(24, "Too many open files")

    woken: list[Any] = []
    monkeypatch.setattr(os, "eventfd", refuse, raising=False)
    monkeypatch.setattr(wire.loop, "call_soon_threadsafe", woken.append)
    assert read_one(put(wire, "/").take()).status == 200
    assert woken == []


def test_another_call_that_ends_meanwhile_is_answered_as_well(wire: FakeWorker, threads: Threads) -> None:
    threads.plan = threads.keep
    first = put(wire, "/first")
    assert not first.take()
    threads.plan = threads.run
    assert read_one(put(wire, "/second").take()).body == b"/second"
    assert read_one(first.take()).body == b"/first"


def test_a_call_that_ends_later_wakes_the_loop(wire: FakeWorker, threads: Threads) -> None:
    for path in ("/first", "/second"):
        threads.plan = threads.keep
        peer = put(wire, path)
        threads.run()
        wire.settle()
        assert read_one(peer.take()).body == path.encode()
        threads.plan = threads.run
        assert read_one(put(wire, "/").take()).status == 200


def test_a_call_that_finds_no_thread_keeps_no_other_from_its_answer(wire: FakeWorker, threads: Threads) -> None:
    threads.plan = threads.keep
    first = put(wire, "/first")
    threads.plan = threads.fail
    assert read_one(put(wire, "/second").take()).status == 500
    assert str(wire.errors.pop()) == "can't start new thread"
    assert read_one(first.take()).body == b"/first"
    threads.plan = threads.keep
    third = put(wire, "/third")
    threads.run()
    wire.settle()
    assert read_one(third.take()).body == b"/third"
