"""Exchanges whose tasks the loop makes."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import TEXT, text
from core.responses import read_one
from fakes.worker import FakeWorker, get, hello, post, read_body, respond
from ws import close, closing, echo, opened, read_frames

Work = Callable[..., FakeWorker]


def plain(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coro, loop=loop, **options)


FACTORIES = {"plain": plain}
if sys.version_info >= (3, 12):
    FACTORIES["eager"] = asyncio.eager_task_factory


@pytest.fixture(params=sorted(FACTORIES))
def made(request: pytest.FixtureRequest, work: Work) -> Work:
    """Make workers whose loop has a task factory."""

    def make(app: Any, **settings: Any) -> FakeWorker:
        wire = work(app, **settings)
        wire.loop.set_task_factory(FACTORIES[request.param])
        return wire

    return make


def test_exchanges(made: Work) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert type(asyncio.current_task()) is asyncio.Task
        await respond(send, await read_body(receive))

    wire = made(app)
    peer = wire.connect()
    for body in (b"", b"one", b"two"):
        assert read_one(peer.feed(post(body))).body == body
    request = post(b"split")
    assert peer.feed(request[:-2]) == b""
    assert read_one(peer.feed(request[-2:])).body == b"split"
    assert wire.worker.active == 0
    assert not wire.worker.tasks


def test_a_websocket(made: Work) -> None:
    peer = opened(made(echo))
    assert read_frames(peer.feed(text("hello"))) == [(TEXT, b"hello")]
    assert read_frames(peer.feed(close())) == [closing(1000)]
    assert peer.wire.worker.active == 0


def test_its_context_is_a_request_s_own(made: Work) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        variable.set(variable.get() + 1)
        await asyncio.sleep(0)
        await respond(send, b"%d" % variable.get())

    peer = made(app).connect()
    assert [read_one(peer.feed(get())).body for _ in range(2)] == [b"1", b"1"]


@pytest.mark.parametrize("error", [KeyError, SystemExit, asyncio.CancelledError])
def test_an_application_that_fails(made: Work, error: type[BaseException]) -> None:
    """The loop goes on, and nothing is said of a task whose exception nobody retrieved."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        raise error

    wire = made(app)
    assert read_one(wire.connect().feed(get())).status == 500
    assert read_one(wire.connect().feed(get())).status == 500
    assert wire.worker.active == 0


def test_cancelled_before_its_first_step(work: Work) -> None:
    def cancels(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **options)
        task.cancel()
        return task

    wire = work(hello())
    wire.loop.set_task_factory(cancels)
    assert read_one(wire.connect().feed(get())).status == 500
    wire.loop.set_task_factory(None)
    assert wire.worker.active == 0
    assert not wire.worker.tasks


def test_a_factory_that_fails(work: Work) -> None:
    def fails(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        raise ValueError("no task")

    wire = work(hello())
    wire.loop.set_task_factory(fails)
    assert read_one(wire.connect().feed(get())).status == 500
    assert [str(error) for error in wire.errors] == ["no task"]
    wire.loop.set_task_factory(None)
    assert read_one(wire.connect().feed(get())).status == 200


def test_one_that_is_set_later_is_for_new_connections(work: Work) -> None:
    kinds: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kinds.append(type(asyncio.current_task()) is asyncio.Task)
        await respond(send)

    wire = work(app)
    wire.connect().feed(get())
    wire.loop.set_task_factory(plain)
    wire.connect().feed(get())
    wire.loop.set_task_factory(None)
    wire.connect().feed(get())
    assert kinds == [False, True, False]


def test_debug_mode(work: Work) -> None:
    kinds: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kinds.append((type(asyncio.current_task()) is asyncio.Task, "app" in repr(asyncio.current_task())))
        await respond(send)

    wire = work(app)
    wire.loop.set_debug(True)
    assert read_one(wire.connect().feed(get())).status == 200
    assert kinds == [(True, True)]
    wire.loop.set_debug(False)
