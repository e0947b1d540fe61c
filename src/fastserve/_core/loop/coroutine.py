"""What the core needs coroutines of Python's own for."""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any


async def call(app: Any, scope: Any, receive: Any, send: Any) -> Any:
    """Call `app` inside the task that runs it and return what awaiting its result gives."""
    return await app(scope, receive, send)


Ended = Callable[[Any, BaseException | None], None]


def start_in_loop(loop: AbstractEventLoop, context: Context, coro: Coroutine[Any, Any, Any], ended: Ended) -> Any:
    """Start a task that the loop makes, so with its task factory and for its debug mode, and return it.

    `ended` is called once with what the coroutine returned or raised, even if the task is cancelled before it begins.
    """
    reports = [ended]
    runner: Any = run(coro, reports)
    runner.__qualname__ = getattr(coro, "__qualname__", runner.__qualname__)
    try:
        task = context.run(loop.create_task, runner)
    except BaseException:
        runner.close()
        coro.close()
        raise
    if not task.done():
        task.add_done_callback(lambda _: give_up(coro, reports))
    return task


async def run(coro: Coroutine[Any, Any, Any], reports: list[Ended]) -> None:
    try:
        result = await coro
    except CancelledError as exc:
        reports.pop()(None, exc)
        raise
    except BaseException as exc:
        reports.pop()(None, exc)
    else:
        reports.pop()(result, None)


def give_up(coro: Coroutine[Any, Any, Any], reports: list[Ended]) -> None:
    if reports:
        coro.close()
        reports.pop()(None, CancelledError())


# What an application's receive and send look like to inspect; a call of them runs the core's own, see awaitable.pyx.


async def receive(self: Any) -> Any:
    """Return the next message from the client."""


async def send(self: Any, message: Any) -> None:
    """Send a message to the client."""
