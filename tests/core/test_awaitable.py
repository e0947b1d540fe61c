"""What receive() and send() return."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from core.fakes import FakeWorker, get, respond
from core.responses import read_one

from fastserve._core.awaitable import Awaitable

Work = Callable[..., FakeWorker]
START = {"type": "http.response.start", "status": 200}


def inside(work: Work, check: Callable[[Any, Any], Coroutine[Any, Any, Any]]) -> Any:
    """Run `check(receive, send)` as an application, and return what it returns; it sends no response."""
    results: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        results.append(await check(receive, send))
        await respond(send)

    wire = work(app)
    assert read_one(wire.connect().feed(get())).status == 200, wire.errors
    return results[0]


def test_it_passes_for_a_coroutine(work: Work) -> None:
    async def check(receive: Any, send: Any) -> Any:
        awaitable = receive()
        assert isinstance(awaitable, Awaitable)
        assert asyncio.iscoroutine(awaitable)
        assert inspect.isawaitable(awaitable)
        return [await awaitable, await asyncio.ensure_future(asyncio.sleep(0, 1))]

    assert inside(work, check) == [{"type": "http.request", "body": b"", "more_body": False}, 1]


def test_nothing_happens_before_it_is_awaited(work: Work) -> None:
    async def check(receive: Any, send: Any) -> Any:
        later = send({"type": "http.response.start", "status": 500})
        later.close()
        first, second = receive(), receive()
        message = await second
        first.close()
        return message["type"]

    assert inside(work, check) == "http.request"


def test_send_gives_none(work: Work) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await send(START) is None
        assert await send({"type": "http.response.body"}) is None

    wire = work(app)
    assert read_one(wire.connect().feed(get())).status == 200
    assert wire.messages == []


def test_driven_by_hand(work: Work) -> None:
    async def check(receive: Any, send: Any) -> Any:
        with pytest.raises(StopIteration) as stop:
            receive().send(None)
        waiting = receive()
        future = waiting.send(None)
        assert asyncio.isfuture(future)
        assert not future.done()
        with pytest.raises(ValueError, match="mine"):
            waiting.throw(ValueError("mine"))
        with pytest.raises(ZeroDivisionError):
            receive().throw(ZeroDivisionError)
        return stop.value.value["type"]

    assert inside(work, check) == "http.request"


def test_iterator_protocol(work: Work) -> None:
    async def check(receive: Any, send: Any) -> Any:
        awaitable = receive()
        assert awaitable.__await__() is awaitable
        return next(iter(awaitable), "exhausted")

    # next() takes StopIteration with the result for the end
    assert inside(work, check) == "exhausted"


def test_errors_are_raised_where_it_is_awaited(work: Work) -> None:
    async def check(receive: Any, send: Any) -> Any:
        awaitable = send({"type": "nothing"})
        with pytest.raises(RuntimeError, match="nothing"):
            await awaitable
        return True

    assert inside(work, check)


@pytest.mark.parametrize("name", ["send", "receive"])
def test_never_awaited(work: Work, name: str) -> None:
    async def check(receive: Any, send: Any) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            awaitable = send(START) if name == "send" else receive()
            del awaitable
        return [str(each.message) for each in caught]

    assert inside(work, check) == [f"coroutine '{name}' was never awaited"]


@pytest.mark.filterwarnings("error")
def test_no_warning_for_one_that_was_awaited_or_closed(work: Work) -> None:
    async def check(receive: Any, send: Any) -> Any:
        await receive()
        receive().close()
        task = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        gc.collect()
        return task.cancelled()

    assert inside(work, check)
