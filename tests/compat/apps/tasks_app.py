"""Endpoints that lean on the event loop: tasks, timeouts, cancellation, context variables, threads."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any

import anyio
import anyio.to_thread
from compat.apps.events import Crowd, Events
from fastapi import FastAPI, Request

app = FastAPI()
events = Events()
crowds: dict[str, Crowd] = {}
who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


def crowd(name: str) -> Crowd:
    return crowds.setdefault(name, Crowd())


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


@app.get("/crowd/{name}/join")
async def join(name: str, number: int) -> int:
    await crowd(name).arrive()
    return number


@app.get("/crowd/{name}/full")
async def full(name: str, number: int) -> int:
    await crowd(name).full(number)
    return crowd(name).present


@app.post("/crowd/{name}/open")
async def open_crowd(name: str) -> None:
    crowd(name).open()


@app.get("/context/{name}")
async def context(name: str) -> list[str]:
    """What the request found, what it reads after all others have set theirs, and what a child task and thread see."""
    found = who.get()
    who.set(name)
    await crowd("context").arrive()

    async def child() -> str:
        return who.get()

    return [found, who.get(), await asyncio.create_task(child()), await anyio.to_thread.run_sync(who.get)]


@app.get("/context-now/{name}")
async def context_now(name: str) -> str:
    found = who.get()
    who.set(name)
    return found


@app.post("/context-upload/{name}")
async def context_upload(name: str, request: Request) -> int:
    """Sets the variable before it reads, so that whatever reading sets going is set going in its context."""
    who.set(name)
    await asyncio.sleep(0.05)  # more comes meanwhile than a server holds for an application that does not read
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return size


@app.get("/task")
async def task() -> dict[str, Any]:
    task = current()
    name = task.get_name()
    task.set_name("renamed")
    before = current()
    await asyncio.sleep(0)
    return {
        "is a future": asyncio.isfuture(task),
        "name": name,
        "renamed": current().get_name(),
        "the same after a pause": current() is before,
        "in all_tasks": task in asyncio.all_tasks(),
        "done": task.done(),
        "cancelled": task.cancelled(),
        "loop": task.get_loop() is asyncio.get_running_loop(),
        "stack": len(task.get_stack()) > 0,
        "coroutine": hasattr(task.get_coro(), "send"),
    }


@app.get("/names")
async def names() -> str:
    name = current().get_name()
    await crowd("names").arrive()
    return name


@app.get("/timeout/wait-for")
async def timeout_wait_for() -> str:
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)
    except asyncio.TimeoutError:
        return "timed out"
    return "not reached"


if sys.version_info >= (3, 11):

    @app.get("/timeout/asyncio")
    async def timeout_asyncio() -> dict[str, Any]:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)
            return {"cancelling": current().cancelling()}
        return {}

    @app.get("/task-group")
    async def task_group() -> list[str]:
        seen: list[str] = []

        async def stays() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("sibling cancelled")
                raise

        async def fails() -> None:
            raise ValueError("one of the group")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(stays())
                group.create_task(fails())
        except BaseExceptionGroup as caught:  # noqa: F821 - ruff reads this as Python 3.10
            seen.append(repr(caught.exceptions[0]))
        return seen


@app.get("/anyio/move-on")
async def anyio_move_on() -> list[bool]:
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep_forever()
    # A scope that is entered cancelled stops at its first checkpoint, and only there.
    with anyio.CancelScope() as own:
        own.cancel()
        await anyio.sleep(0)
        raise AssertionError("not reached")
    await anyio.sleep(0)
    return [scope.cancelled_caught, own.cancelled_caught]


@app.get("/anyio/group")
async def anyio_group() -> str:
    done = anyio.Event()

    async def finish() -> None:
        done.set()

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        group.start_soon(finish)
        await done.wait()
        group.cancel_scope.cancel()
    return "left"


@app.get("/anyio/thread")
async def anyio_thread() -> int:
    def total() -> int:
        return sum([1, 2, 3])

    return await anyio.to_thread.run_sync(total)


@app.get("/shield")
async def shield() -> str:
    async def inner() -> None:
        await events.wait("shield release")
        events.fire("shielded work done")

    try:
        await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(inner())), 0.01)
    except asyncio.TimeoutError:
        events.fire("shield release")
    await events.wait("shielded work done")
    return "done"


@app.get("/uncancel")
async def uncancel() -> str:
    """The endpoint is cancelled from another task, takes it, and goes on to answer."""
    task = current()
    asyncio.get_running_loop().call_soon(task.cancel, "from outside")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as error:
        if sys.version_info >= (3, 11):
            task.uncancel()
        return str(error.args[0])
    return "not reached"


@app.get("/child")
async def child() -> str:
    """Leaves a task behind that outlives the request."""

    async def later() -> None:
        await events.wait("request is over")
        events.fire("child done")

    children.add(asyncio.create_task(later()))
    return "answered"


children: set[asyncio.Task[None]] = set()


@app.post("/fire/{name}")
async def fire(name: str) -> None:
    events.fire(name)


@app.get("/wait/{name}")
async def wait(name: str) -> str:
    await events.wait(name)
    return name
