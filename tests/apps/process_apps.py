"""Applications that the process tests serve by the command."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

hoard: list[bytes] = []


def say(text: str) -> None:
    print(text, flush=True)


say(f"imported in {os.getpid()}")


async def answer(send: Send, body: bytes) -> None:
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the process id; the path may ask for something to happen before."""
    if scope["type"] != "http":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    word, _, argument = scope["path"][1:].partition("/")
    if word == "stream":
        await stream(send)
        return
    if word in DEEDS:
        await DEEDS[word](argument)
    await answer(send, str(os.getpid()).encode())


async def stream(send: Send) -> None:
    """Begin a response of no declared length, and end it once somebody opens the pipe that $GATE names for writing."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await gate("")
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


async def block(argument: str) -> None:
    """Block the event loop, with the interpreter free."""
    time.sleep(60)  # noqa: ASYNC251


async def synchronous(argument: str) -> None:
    """Block the event loop until somebody opens the pipe that $GATE names for writing."""
    Path(os.environ["GATE"]).read_bytes()  # noqa: ASYNC240


async def hold(argument: str) -> None:
    """Hold the interpreter, as an expression does that takes exponential time."""
    say(f"holding in {os.getpid()}")
    re.match(r"(a|a)+$", "a" * 60 + "b")


async def leave(argument: str) -> None:
    os._exit(int(argument))


async def die(argument: str) -> None:
    os.kill(os.getpid(), getattr(signal, argument))


async def grow(argument: str) -> None:
    hoard.append(os.urandom(int(argument) << 20))


async def gate(argument: str) -> None:
    """Wait until somebody opens the pipe that $GATE names for writing."""
    say(f"waiting in {os.getpid()}")
    await asyncio.get_running_loop().run_in_executor(None, Path(os.environ["GATE"]).read_bytes)


async def wait(argument: str) -> None:
    say(f"waiting in {os.getpid()}")
    await asyncio.Event().wait()


async def read_stdin(argument: str) -> None:
    say(f"read {sys.stdin.readline()!r}")


async def chdir(argument: str) -> None:
    os.chdir("/")


DEEDS = {
    "block": block,
    "synchronous": synchronous,
    "hold": hold,
    "leave": leave,
    "die": die,
    "grow": grow,
    "gate": gate,
    "stdin": read_stdin,
    "wait": wait,
    "chdir": chdir,
}


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail at startup."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def not_there() -> Any:
    raise RuntimeError("the factory is broken")


def leaving() -> Any:
    os._exit(5)


async def stay(scope: Scope, receive: Receive, send: Send) -> None:
    """Take for ever to start in every process but the first, which leaves a mark in the directory $STARTS."""
    if scope["type"] == "lifespan" and not first():
        await asyncio.Event().wait()
    await app(scope, receive, send)


def first() -> bool:
    mark = Path(os.environ["STARTS"], "mark")
    if mark.exists():
        return False
    mark.touch()
    return True
