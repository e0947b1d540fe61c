"""The applications behind a fuzzed connection: each request is served by the one that the input names for it."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import IO, NamedTuple

from protocol.apps import Headers, Receive, Scope, Send, body, start


class Planned(Exception):
    """Raised by an application that is to fail."""


@dataclass
class Call:
    """What the application has seen of a request."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    kind: Kind
    body: bytes = b""
    complete: bool = False
    disconnects: int = 0

    async def next(self, receive: Receive) -> bool:
        """Take one message; return whether more of the body is to come."""
        message = await receive()
        if message["type"] == "http.disconnect":
            self.disconnects += 1
            return False
        assert not self.complete and not self.disconnects, "a piece of body behind its end"
        assert type(message["body"]) is bytes
        self.body += message["body"]
        self.complete = not message["more_body"]
        return not self.complete

    async def read(self, receive: Receive) -> bool:
        """Read the body and return whether all of it came."""
        while await self.next(receive):
            pass
        return self.complete


Serve = Callable[[Call, int, Headers, Receive, Send], Awaitable[None]]


class Kind(NamedTuple):
    """A way to serve a request. The integer that it is given is the input's choice, below 16."""

    serve: Serve
    # Whether its response depends on the request's bytes alone: not on how they are cut, and not on what else happens.
    steady: bool = True
    # Whether it may be done while it still reads: how much of a body it sees depends on the cuts as well.
    hasty: bool = False


async def echo(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    if await call.read(receive):
        await start(send, 200, [*headers, (b"content-length", b"%d" % len(call.body))])
        await body(send, call.body)


async def ignore_body(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    await start(send, (200, 201, 204, 304, 404, 500, 299, 599)[choice % 8], headers)
    await body(send, b"ignored" if choice < 8 else b"")


async def stream_back(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    await start(send, 200, headers)
    seen = 0
    while await call.next(receive):
        await body(send, call.body[seen:], more=True)
        seen = len(call.body)
    if call.complete:
        await body(send, call.body[seen:])


async def raise_early(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    if choice >= 8:
        await call.read(receive)
    raise Planned("before the response")


async def raise_late(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    await start(send, 200, headers)
    for _ in range(choice % 4):
        await body(send, b"part", more=True)
    raise Planned("in the response")


async def return_early(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    if choice % 2:
        await start(send, 200, headers)
        if choice % 4 == 3:
            await body(send, b"part", more=True)


async def read_on(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    """Answer at once and ask for the body after that."""
    await start(send, 200, headers)
    await body(send, b"early")
    await call.read(receive)


async def wait_for_disconnect(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    if choice % 2:
        await start(send, 200, headers)
        await body(send, b"event", more=True)
    while not call.disconnects:
        await call.next(receive)
    for _ in range(choice % 3):
        await call.next(receive)
    if choice >= 8:
        await body(send, b"late", more=True)


async def wrong_length(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    await start(send, 200, [*headers, (b"Content-Length", b"%d" % choice)])
    await body(send, b"ab", more=choice % 2 == 0)
    await body(send, b"cde")


async def bad_messages(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    bad: tuple[tuple[bytes, bytes], ...] = (
        (b"x", b"1\r\nx: 2"), (b"x y", b"1"), (b"", b""), (b"content-length", b"+1"), (b"transfer-encoding", b"gzip"),
        (b"content-length", b"1, 2"), (b"x", b"\0"), (b"x\n", b""),
    )  # fmt: skip
    if choice < 8:
        await start(send, 200, [*headers, bad[choice]])
    elif choice < 11:
        await body(send, b"no start")
    elif choice < 13:
        await start(send, (0, 99, 1000)[choice % 3], headers)
    else:
        await start(send, 200, headers)
        await send({"type": "http.response.body", "body": "text" if choice == 13 else None})
        await start(send, 200, headers)
    await body(send, b"x")


async def large(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    piece = bytes(range(256)) * (64 if choice < 8 else 300)
    count = 1 + choice % 4
    length = [(b"content-length", b"%d" % (count * len(piece)))] if choice % 2 else []
    await start(send, 200, [*headers, *length])
    for left in range(count - 1, -1, -1):
        await body(send, piece, more=left > 0)


async def slow(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    """Let other callbacks of the loop run between its steps."""
    for _ in range(choice % 4):
        await asyncio.sleep(0)
    if choice >= 8:
        await call.read(receive)
    await start(send, 200, headers)
    await asyncio.sleep(0)
    await body(send, b"slow", more=True)
    await asyncio.sleep(0)
    await body(send, b"")


async def many_tasks(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    """Wait for the disconnect in a task beside the one that responds, and cancel it, as frameworks do."""
    watcher = asyncio.ensure_future(call.read(receive))
    await asyncio.sleep(0)
    try:
        await start(send, 200, headers)
        for _ in range(choice % 4):
            await body(send, b"part", more=True)
            await asyncio.sleep(0)
        await body(send, b"")
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


async def close_connection(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    if choice % 2:
        await call.read(receive)
    await start(send, 200, [*headers, (b"Connection", b"close")])
    await body(send, b"bye")


async def hint(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    links = [[b"</a.css>; rel=preload"], [], [b"bad\r\nvalue"], [b"a", b"b"]][choice % 4]
    await send({"type": "http.response.early_hint", "links": links})
    if choice >= 8:
        await call.read(receive)
    await start(send, 200, headers)
    await send({"type": "http.response.early_hint", "links": links})
    await body(send, b"hinted", more=choice % 2 == 1)
    await send({"type": "http.response.early_hint", "links": links})
    await body(send)


async def trail(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    length = [(b"content-length", b"%d" % (choice % 8))] if choice >= 8 else []
    message = {"type": "http.response.start", "status": 200, "headers": [*headers, *length], "trailers": True}
    await send(message)
    await body(send, b"body", more=choice % 2 == 1)
    fields = [[(b"x-trailer", b"1")], [], [(b"x", b"\0")], [(b"content-length", b"1")]][choice % 4]
    await send({"type": "http.response.trailers", "headers": fields, "more_trailers": choice % 8 == 5})
    await send({"type": "http.response.trailers", "headers": fields})


@functools.cache
def file() -> IO[bytes]:
    made = tempfile.NamedTemporaryFile()  # noqa: SIM115
    made.write(bytes(range(256)) * 400)
    made.flush()
    return made


async def send_file(call: Call, choice: int, headers: Headers, receive: Receive, send: Send) -> None:
    length = [(b"content-length", b"%d" % (102400 if choice < 8 else 1000))] if choice % 2 else []
    await start(send, 200, [*headers, *length])
    if choice < 8:
        await send({"type": "http.response.pathsend", "path": file().name})
    else:
        part = {"file": file(), "offset": choice * 6800, "count": (1000, 0, 90000, None)[choice % 4]}
        await send({"type": "http.response.zerocopysend", **part, "more_body": choice % 2 == 0})
    await body(send, b"behind the file")


KINDS: tuple[Kind, ...] = (
    Kind(echo),
    Kind(ignore_body),
    Kind(stream_back, steady=False),
    Kind(raise_early),
    Kind(raise_late),
    Kind(return_early),
    Kind(read_on),
    Kind(wait_for_disconnect),
    Kind(wrong_length),
    Kind(bad_messages),
    Kind(large),
    Kind(slow, steady=False),
    Kind(many_tasks, steady=False, hasty=True),
    Kind(close_connection),
    Kind(hint),
    Kind(trail),
    Kind(send_file, steady=False),
)


class Application:
    """Serves the n-th request of a connection by the n-th of the `choices`, which repeat, and keeps what it saw."""

    def __init__(self, choices: bytes) -> None:
        self.choices = choices
        self.calls: list[Call] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        number = len(self.calls)
        choice = self.choices[number % len(self.choices)]
        kind = KINDS[choice % len(KINDS)]
        call = Call(scope["method"], scope["raw_path"] + b"?" + scope["query_string"], list(scope["headers"]), kind)
        self.calls.append(call)
        await kind.serve(call, choice // len(KINDS), [(b"x-number", b"%d" % number)], receive, send)
