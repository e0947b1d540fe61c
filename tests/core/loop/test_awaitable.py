"""What receive() and send() return."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import sys
import types
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from core.responses import read_one
from fakes.worker import FakeWorker, get, respond

from fastserve._core.loop.awaitable import Awaitable

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


class TestFunctions:
    """receive and send themselves."""

    def test_they_pass_for_coroutine_functions(self, work: Work) -> None:
        async def check(receive: Any, send: Any) -> Any:
            for function in (receive, send):
                assert inspect.iscoroutinefunction(function)
                if sys.version_info < (3, 14):  # deprecated there
                    assert asyncio.iscoroutinefunction(function)
                assert inspect.ismethod(function)
                assert inspect.isfunction(function.__func__)
                assert inspect.iscoroutinefunction(functools.partial(function))
                assert not inspect.isgeneratorfunction(function)
                assert function == types.MethodType(function.__func__, function.__self__)
            assert receive != send
            return [
                (each.__name__, each.__qualname__, each.__module__, str(inspect.signature(each)), inspect.getdoc(each))
                for each in (receive, send)
            ]

        module = "fastserve._core.loop.coroutine"
        assert inside(work, check) == [
            ("receive", "receive", module, "() -> 'Any'", "Return the next message from the client."),
            ("send", "send", module, "(message: 'Any') -> 'None'", "Send a message to the client."),
        ]

    def test_calls(self, work: Work) -> None:
        async def check(receive: Any, send: Any) -> Any:
            unbound: Any = send.__func__
            for call in (send(message=START), functools.partial(send, START)(), unbound(send.__self__, START),
                         unbound.__call__(send.__self__, START), receive.__call__()):  # fmt: skip
                assert isinstance(call, Awaitable)
                call.close()
            assert (await receive.__func__(receive.__self__))["type"] == "http.request"
            for wrong in (
                lambda: receive(1), lambda: receive(a=1), send, lambda: send(1, 2), lambda: send(other=1),
                lambda: send(1, message=2), receive.__func__, lambda: receive.__func__(object()),
                lambda: unbound(object(), START),
            ):  # fmt: skip
                with pytest.raises(TypeError):
                    wrong()
            return True

        assert inside(work, check)

    def test_async_to_sync_does_not_warn(self, work: Work) -> None:
        async def check(receive: Any, send: Any) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return [vars(async_to_sync(each))["awaitable"] == each for each in (receive, send)]

        assert inside(work, check) == [True, True]


class TestCoroutine:
    """What a call returns, beside the coroutine that uvicorn's returns."""

    def test_what_it_is(self, work: Work) -> None:
        async def check(receive: Any, send: Any) -> Any:
            first, call = send({}), receive()
            first.close()
            assert [(each.__name__, each.__qualname__) for each in (first, call)] == [("send",) * 2, ("receive",) * 2]
            assert call.cr_code is receive.__code__
            assert call.cr_frame.f_code is call.cr_code
            assert (call.cr_running, call.cr_await, call.cr_origin) == (False, None, None)
            states = [inspect.getcoroutinestate(call)]
            assert inspect.getcoroutinelocals(call) == {"self": None}
            await call
            states.append(inspect.getcoroutinestate(call))
            assert call.cr_frame is None
            assert "receive()" in repr(asyncio.ensure_future(receive()))
            return states

        assert inside(work, check) == ["CORO_CREATED", "CORO_CLOSED"]

    def test_while_it_waits(self, work: Work) -> None:
        async def check(receive: Any, send: Any) -> Any:
            await receive()
            call = receive()
            task = asyncio.ensure_future(call)
            await asyncio.sleep(0)
            assert asyncio.isfuture(call.cr_await)
            assert call.cr_frame is not None
            if sys.version_info >= (3, 11):
                assert inspect.getcoroutinestate(call) == "CORO_SUSPENDED"
            with pytest.raises(RuntimeError, match="being awaited already"):
                await call
            with pytest.raises(RuntimeError, match="await wasn't used with future"):
                await asyncio.ensure_future(call)
            assert not task.done()
            task.cancel()
            await asyncio.wait([task])
            assert call.cr_frame is None
            return True

        assert inside(work, check)

    @pytest.mark.parametrize("how", ["awaited", "closed", "thrown into", "failed"])
    def test_it_cannot_be_awaited_again(self, work: Work, how: str) -> None:
        async def check(receive: Any, send: Any) -> Any:
            call = send({"type": "nothing"}) if how == "failed" else receive()
            if how == "closed":
                call.close()
            elif how == "thrown into":
                with pytest.raises(KeyError):
                    call.throw(KeyError)
            elif how == "failed":
                with pytest.raises(RuntimeError, match="nothing"):
                    await call
            else:
                await call
            for _ in range(2):
                with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                    await call
            with pytest.raises(RuntimeError, match="cannot reuse"):
                call.throw(KeyError)
            with pytest.raises(RuntimeError, match="cannot reuse"):
                await asyncio.ensure_future(call)
            call.close()
            return True

        assert inside(work, check)
