"""Applications that the shell's tests serve by the command."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")
where.set("the module")


def say(text: str) -> None:
    print(text, flush=True)


async def answer(send: Send, body: bytes) -> None:
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with what the application sees; no lifespan."""
    if scope["type"] != "http":
        raise RuntimeError("http only")
    seen = {
        "path": scope["path"],
        "root_path": scope["root_path"],
        "asgi": scope["asgi"],
        "state": scope["state"],
        "loop": type(asyncio.get_running_loop()).__module__,
        "greeting": os.environ.get("GREETING"),
        "where": where.get(),
        "sys_path": sys.path[0],
    }
    await answer(send, json.dumps(seen).encode())


async def files(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the extensions that are announced, or have the server send the file that the path names."""
    if scope["type"] != "http":
        raise RuntimeError("http only")
    path = scope["path"].lstrip("/")
    if not path:
        await answer(send, json.dumps(scope["extensions"]).encode())
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.pathsend", "path": path})


async def living(scope: Scope, receive: Receive, send: Send) -> None:
    """Speak lifespan, and show its state to requests."""
    if scope["type"] == "http":
        await answer(send, json.dumps(scope["state"]).encode())
        return
    await receive()
    scope["state"]["started"] = "yes"
    say("application: startup")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("application: shutdown")
    await send({"type": "lifespan.shutdown.complete"})


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail at startup."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Never finish starting up."""
    await receive()
    say("application: starting")
    await asyncio.Event().wait()


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Never finish shutting down."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("application: stopping")
    await asyncio.Event().wait()


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """Start a response that has no end, until the task is cancelled."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as exc:
        say(f"application: cancelled, {exc}")
        raise


async def after_response(scope: Scope, receive: Receive, send: Send) -> None:
    """Go on working after the response, until somebody opens the pipe that $GATE names for writing."""
    await answer(send, b"done")
    say("application: working")
    await asyncio.get_running_loop().run_in_executor(None, Path(os.environ["GATE"]).read_bytes)
    say("application: worked")


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the request's body and say what came; then answer."""
    while True:
        message = await receive()
        say(f"application: {message['type']}")
        if message["type"] == "http.disconnect":
            return
        if not message["more_body"]:
            break
    await answer(send, b"read")


async def flooding(scope: Scope, receive: Receive, send: Send) -> None:
    """Send until the client is gone."""
    await send({"type": "http.response.start", "status": 200})
    try:
        while True:
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
    except OSError as exc:
        say(f"application: {type(exc).__name__}")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send back each message of a WebSocket; no lifespan."""
    if scope["type"] != "websocket":
        raise RuntimeError("websocket only")
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def unread(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept a WebSocket and receive nothing that comes on it; no lifespan."""
    if scope["type"] != "websocket":
        raise RuntimeError("websocket only")
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.get_running_loop().create_future()


class Old:
    """An ASGI 2 application."""

    def __init__(self, scope: Scope) -> None:
        if scope["type"] != "http":
            raise RuntimeError("http only")
        self.scope = scope

    async def __call__(self, receive: Receive, send: Send) -> None:
        await answer(send, json.dumps(self.scope["asgi"]).encode())


def old(scope: Scope) -> Callable[[Receive, Send], Awaitable[None]]:
    return Old(scope)


def plain(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """An ASGI 3 application that is not a coroutine function."""
    return app(scope, receive, send)


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """A WSGI application."""
    start_response("200 OK", [("Content-Type", "application/json")])
    thread = threading.current_thread().name
    seen = {"script": environ["SCRIPT_NAME"], "path": environ["PATH_INFO"], "thread": thread}
    return [json.dumps(seen).encode()]


pair = threading.Barrier(2, timeout=60)


def wsgi_pairs(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """A WSGI application that answers requests two at a time."""
    pair.wait()
    start_response("200 OK", [])
    return [b"2 at a time"]


def make() -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    return app


def make_nothing() -> None:
    """A factory that forgets to return the application."""


def make_error() -> None:
    raise TypeError("factory is broken")


async def make_later() -> Any:
    return app


def new_loop() -> asyncio.AbstractEventLoop:
    class CustomLoop(asyncio.SelectorEventLoop):
        pass

    CustomLoop.__module__ = "custom"
    return CustomLoop()


not_callable = 5


async def secure(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with who asks, and what is known of the TLS connection."""
    seen = {name: scope.get(name) for name in ("client", "scheme", "extensions")}
    await answer(send, json.dumps(seen).encode())


async def tickless(scope: Scope, receive: Receive, send: Send) -> None:
    """Speak lifespan on a server whose ticks are too far apart for any of them to come in a test."""
    from fastserve.serving import life

    life.TICK = 1000.0
    await living(scope, receive, send)


async def tickless_deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Start and never say that it has stopped, on such a server."""
    from fastserve.serving import life

    life.TICK = 1000.0
    await deaf(scope, receive, send)
