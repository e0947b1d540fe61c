"""What the compiled core and --http h11 do by themselves, around the application of protocol classes of others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from fastserve._core.http.admission import Guest

if TYPE_CHECKING:
    from fastserve._core.worker import Worker
    from fastserve._types import ASGI3Application, Receive, Scope, Send
    from fastserve.options.table import Options

HSTS = b"strict-transport-security"
# The messages that begin a response, with its headers.
HEADS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
HANDSHAKE_ENDS = ("websocket.accept", "websocket.close", "websocket.http.response.start")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
REFUSAL = [TEXT, (b"retry-after", b"1")]


class Limited:
    """Has the application called for at most --limit-requests requests at a time; others wait in the worker's queue.

    A WebSocket counts until its handshake has its response. A client that leaves while it waits is not noticed.
    """

    def __init__(self, app: ASGI3Application, types: tuple[str, ...]) -> None:
        self.app = app
        self.types = types
        self.worker: Worker | None = None  # whose limit it is, once there is one

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in self.types or self.worker is None:
            return await self.app(scope, receive, send)
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        guest = Guest(self.worker, lambda: settle(outcome, True), lambda: settle(outcome, False))
        guest.enter()
        try:
            if not await outcome:
                return await refuse(scope, receive, send)
            await self.app(scope, receive, send if scope["type"] == "http" else until_answered(send, guest))
        finally:
            guest.exit()


def settle(outcome: asyncio.Future[bool], value: bool) -> None:
    if not outcome.done():  # cancelled
        outcome.set_result(value)


def until_answered(send: Send, guest: Guest) -> Send:
    """Return a send() that gives the guest's place to another one with the response to a handshake."""

    async def sending(message: Any) -> None:
        if message["type"] in HANDSHAKE_ENDS:
            guest.exit()
        await send(message)

    return sending


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with 503, or by closing where a WebSocket's handshake cannot have a response."""
    kind: Any = scope["type"]
    prefix = "http.response"
    if kind == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            return await send({"type": "websocket.close", "code": 1013, "reason": ""})
        prefix = "websocket.http.response"
    start: Any = {"type": f"{prefix}.start", "status": 503, "headers": REFUSAL}
    body: Any = {"type": f"{prefix}.body", "body": b"Service Unavailable"}
    await send(start)
    return await send(body)


class GivenPath:
    """Takes the root path off the paths of scopes again: the proxy has sent it (--root-path-mode given)."""

    def __init__(self, app: ASGI3Application, root_path: str, types: tuple[str, ...]) -> None:
        self.app = app
        self.root_path = root_path
        self.types = types

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] in self.types:
            scope["path"] = scope["path"].removeprefix(self.root_path)
            if scope.get("raw_path") is not None:
                scope["raw_path"] = scope["raw_path"].removeprefix(self.root_path.encode())
        return self.app(scope, receive, send)


class StrictTransport:
    """Adds Strict-Transport-Security to responses over TLS (--ssl-hsts), unless they have it."""

    def __init__(self, app: ASGI3Application, value: str, types: tuple[str, ...]) -> None:
        self.app = app
        self.field = (HSTS, value.encode("latin-1"))
        self.types = types

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] not in self.types or scope["scheme"] not in ("https", "wss"):
            return self.app(scope, receive, send)

        async def sending(message: Any) -> None:
            if message["type"] in HEADS:
                headers = list(message.get("headers") or [])
                if not any(name.lower() == HSTS for name, _ in headers):
                    message = {**message, "headers": [*headers, self.field]}
            await send(message)

        return self.app(scope, receive, sending)


class Health:
    """Responds to requests for the server's own health (--health), whatever else is under way or in front."""

    def __init__(self, app: ASGI3Application, path: str, root_path: str) -> None:
        self.app = app
        self.paths = (path, root_path + path)  # most classes put the root path before the path
        self.worker: Worker | None = None  # that of the server, once there is one

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in self.paths or scope["method"] not in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        red = self.worker is not None and self.worker.red
        text = b"draining" if red else b"ok"
        headers = [TEXT, (b"cache-control", b"no-store"), (b"content-length", b"%d" % len(text))]
        start: Any = {"type": "http.response.start", "status": 503 if red else 200, "headers": headers}
        body: Any = {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text}
        await send(start)
        return await send(body)


def around(app: ASGI3Application, options: Options, types: tuple[str, ...]) -> ASGI3Application:
    """Return an application for which the options count where classes of others make scopes of these types.

    It must be the outermost: it looks at the scheme of the connection, and at the path as the class makes it.
    """
    if options.root_path and options.root_path_mode == "given":
        app = GivenPath(app, options.root_path, types)
    if options.ssl_hsts is not None:
        app = StrictTransport(app, str(options.ssl_hsts), types)
    return app
