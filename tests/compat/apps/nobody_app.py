"""What becomes of a cancellation that comes while an application sends to a client that is gone.

GET /OWNER/CASE/ID waits for its client to leave, and then runs a case in the request's own task or in a child of it;
GET /result/-/ID tells what came of it. Where send() does not suspend, the cancellation comes just after it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio

results: dict[str, asyncio.Future[Any]] = {}


class Nobody:
    """A client that is gone."""

    def __init__(self, send: Any) -> None:
        self._send = send

    async def send(self, meanwhile: Callable[..., Any] | None = None, *arguments: Any) -> None:
        """Send a piece, and have something called in the turn of the loop that this may take."""
        if meanwhile is not None:
            asyncio.get_running_loop().call_soon(meanwhile, *arguments)
        await self._send({"type": "http.response.body", "body": b"x", "more_body": True})


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def requests() -> int:
    """How often this task has been cancelled, as far as that was not taken back; Python 3.10 cannot tell."""
    if sys.version_info >= (3, 11):
        return this_task().cancelling()
    return -1


async def for_ever() -> None:
    await asyncio.Event().wait()


async def go_on() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def wait() -> list[Any]:
    """Wait, and tell of the cancellation that comes."""
    try:
        await for_ever()
    except asyncio.CancelledError as error:
        return ["cancelled where it waits", *error.args, requests()]
    raise AssertionError


async def waits(nobody: Nobody) -> Any:
    await nobody.send(this_task().cancel, "why")
    return await wait()


async def sends_more(nobody: Nobody) -> Any:
    await nobody.send(this_task().cancel, "why")
    for _ in range(15):
        await nobody.send()
    return await wait()


async def cancels_itself(nobody: Nobody) -> Any:
    this_task().cancel("why")
    await nobody.send()
    return await wait()


async def waits_in_a_generator(nobody: Nobody) -> Any:
    task, told = this_task(), []

    async def pieces() -> AsyncIterator[int]:
        try:
            yield 1
            await for_ever()
        finally:
            told.append("closed at once" if this_task() is task else "closed elsewhere")

    try:
        async for _ in pieces():
            await nobody.send(task.cancel)
    except asyncio.CancelledError:
        return told
    raise AssertionError


async def ends(nobody: Nobody) -> Any:
    async def child() -> str:
        await nobody.send(this_task().cancel)
        return "ended"

    return await asyncio.create_task(child())


if sys.version_info >= (3, 11):

    async def timeout_is_left(nobody: Nobody) -> Any:
        async with asyncio.timeout(None) as timeout:
            timeout.reschedule(0)
            await nobody.send()
        await go_on()
        return ["on", requests()]

    async def timeout_is_not_left(nobody: Nobody) -> Any:
        try:
            async with asyncio.timeout(None) as timeout:
                timeout.reschedule(0)
                await nobody.send()
                await for_ever()
        except TimeoutError:
            return ["timeout", requests()]

    async def timeout_and_cancel(nobody: Nobody) -> Any:
        """One of two requests that come together is taken back."""
        async with asyncio.timeout(None) as timeout:
            timeout.reschedule(0)
            await nobody.send(this_task().cancel, "why")
        return await wait()

    async def group_fails(nobody: Nobody) -> Any:
        async def fail() -> None:
            raise ZeroDivisionError

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await nobody.send()
                await nobody.send()
        except BaseException as error:
            await go_on()
            return [type(each).__name__ for each in error.exceptions]  # type: ignore[attr-defined]


async def scope_is_left(nobody: Nobody) -> Any:
    with anyio.CancelScope() as scope:
        await nobody.send(scope.cancel)
    await go_on()
    return ["on", scope.cancelled_caught, requests()]


async def scope_is_late(nobody: Nobody) -> Any:
    with anyio.move_on_after(0) as scope:
        await nobody.send()
    await go_on()
    return ["on", scope.cancelled_caught, requests()]


async def scope_is_not_left(nobody: Nobody) -> Any:
    told = []
    with anyio.CancelScope() as scope:
        await nobody.send(scope.cancel)
        told.append("sent")
        await for_ever()
    return [*told, scope.cancelled_caught, requests()]


async def scope_shields(nobody: Nobody) -> Any:
    told = []
    with anyio.CancelScope() as scope:
        await nobody.send(scope.cancel)
        with anyio.CancelScope(shield=True):
            await go_on()
            told.append("shielded")
        await for_ever()
    return [*told, scope.cancelled_caught, requests()]


async def never_ends(nobody: Nobody) -> Any:
    await nobody.send(this_task().cancel, "why")
    sent = 1
    try:
        while True:
            await nobody.send()
            sent += 1
    except asyncio.CancelledError as error:
        return [sent, *error.args, requests()]


async def never_ends_in_a_scope(nobody: Nobody) -> Any:
    sent = 0
    with anyio.CancelScope() as scope:
        await nobody.send(scope.cancel)
        while True:
            sent += 1
            await nobody.send()
    return [sent, scope.cancelled_caught, requests()]


async def app(scope: Any, receive: Any, send: Any) -> None:
    _, owner, case, identity = scope["path"].split("/")
    result = results.setdefault(identity, asyncio.get_running_loop().create_future())
    start = {"type": "http.response.start", "status": 200, "headers": []}
    if owner == "result":
        body = json.dumps(await asyncio.wait_for(asyncio.shield(result), 40)).encode()
        await send({**start, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
        return
    await send(start)
    nobody = Nobody(send)
    await nobody.send()
    while (await receive())["type"] != "http.disconnect":
        pass
    running = globals()[case](nobody)
    try:
        result.set_result(await (asyncio.create_task(running) if owner == "child" else running))
    except BaseException as error:
        result.set_result(repr(error))
