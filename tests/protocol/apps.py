"""Applications that the protocol tests serve, and the pieces to make more of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


@dataclass
class Call:
    """One call of the application: what it has seen of a request, and whether that was all of it."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False


async def start(send: Send, status: int = 200, headers: Headers = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def body(send: Send, data: bytes = b"", more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def respond(send: Send, data: bytes = b"ok", status: int = 200, headers: Headers = ()) -> None:
    await start(send, status, headers)
    await body(send, data)


async def read(receive: Receive) -> bytes | None:
    """Return the body of the request, or None where the client goes away before its end."""
    data = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        data += message["body"]
        if not message["more_body"]:
            return bytes(data)


def target_of(scope: Scope) -> str:
    query = scope["query_string"].decode("ascii")
    path: str = scope["path"]
    return path + (f"?{query}" if query else "")


class Recorder:
    """Reads every request to its end, responds with a line that says what it saw, and keeps it in `calls`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope["method"], target_of(scope), [(name, value) for name, value in scope["headers"]])
        self.calls.append(call)
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            call.body += message["body"]
            more = message["more_body"]
        call.complete = True
        line = f"{call.method} {call.target!a} {len(call.body)}\n".encode() + call.body
        await respond(send, line, headers=[(b"content-length", b"%d" % len(line))])


def static(data: bytes = b"ok", status: int = 200, headers: Headers = ()) -> App:
    """Return an application that gives every request this response, without reading its body."""
    given = list(headers)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, data, status, given)

    return app


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the body of the request."""
    data = await read(receive)
    if data is not None:
        await respond(send, data)


class Gate:
    """A point where the application waits until the test's thread lets it go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.loop: asyncio.AbstractEventLoop
        self.event: asyncio.Event

    async def wait(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.event = asyncio.Event()
        self.reached.set()
        await self.event.wait()

    def open(self) -> None:
        assert self.reached.wait(60), "the application did not come to the gate"
        self.loop.call_soon_threadsafe(self.event.set)
