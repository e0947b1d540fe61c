"""A server of each implementation for many short conversations, each the outcome of a client's bytes."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import support
from core.frames import CLOSE, PONG
from garbage import assert_nothing_lives
from protocol.apps import Receive, Scope, Send, read, respond
from protocol.wire import Response
from ws import FRAMINGS, Frame, Socket, close, framing_class, upgrade

MAX_SIZE = 1000


class Outcome(NamedTuple):
    """What becomes of a WebSocket."""

    messages: list[str | bytes]  # that the application gets
    pongs: list[bytes]
    code: int  # of the server's close frame, 1005 where it has none, 0 without such a frame
    seen: int  # the code that the application sees
    reason: str  # the same
    others: list[Frame]  # that the server sends besides


class Keeper:
    """Accepts and keeps what comes, until it can tell how the WebSocket ended; answers plain requests with 200."""

    def __init__(self) -> None:
        self.ended: queue.SimpleQueue[tuple[int, list[str | bytes], int, str]] = queue.SimpleQueue()
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        if scope["type"] == "http":
            await read(receive)
            await respond(send, b"plain")
            return
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/close":
            code, _, reason = scope["query_string"].decode().partition("&")
            await send({"type": "websocket.close", "code": int(code), "reason": reason})
        messages: list[str | bytes] = []
        while (message := await receive())["type"] == "websocket.receive":
            messages.append(message["text"] if "text" in message else message["bytes"])
            if scope["path"] == "/echo":
                with contextlib.suppress(OSError):
                    await send({**message, "type": "websocket.send"})
        self.ended.put((scope["client"][1], messages, message["code"], message["reason"]))


class Talks:
    """Conversations with one server."""

    def __init__(self, implementation: str, **config: Any) -> None:
        self.implementation = implementation
        self.app = Keeper()
        self.running = support.serve(self.app, ws=implementation, **{"ws_max_size": MAX_SIZE, **config})

    def socket(self) -> Socket:
        return Socket(self.running.connect())

    def ask(self, request: bytes) -> Response:
        """The response to a handshake that is refused, or to a request that is none."""
        with self.socket() as client:
            found = client.ask(request)
            if b"close" in found.all(b"connection"):
                assert client.rest() == b""
            return found

    def tell(self, *data: bytes, path: str = "/", fields: tuple[str, ...] = (), end: bytes | None = None) -> Outcome:
        """Open a WebSocket, send all this in one piece with a close frame after it, and read to the end."""
        with self.socket() as client:
            client.open(path, *fields)
            client.send(b"".join(data) + (close(1000) if end is None else end))
            return self.outcome(client)

    def outcome(self, client: Socket) -> Outcome:
        """Read to the end of the WebSocket."""
        frames = client.frames()
        port = client.sock.getsockname()[1]
        while (ended := self.app.ended.get(timeout=60))[0] != port:
            pass  # of a test that did not ask
        _, messages, seen, reason = ended
        code = 0
        if frames and frames[-1][0] == CLOSE:
            code = int.from_bytes(frames[-1][1][:2], "big") or 1005
            frames = frames[:-1]
        pongs = [payload for opcode, payload in frames if opcode == PONG]
        return Outcome(messages, pongs, code, seen, reason, [each for each in frames if each[0] != PONG])


def serve_all(request: pytest.FixtureRequest, **config: Any) -> Iterator[Talks]:
    """What a fixture yields that has FRAMINGS for its parameters: one server for all tests of a module."""
    framing_class(request.param)
    talks = Talks(request.param, **config)
    yield talks
    talks.running.stop()
    assert_nothing_lives()


implementations = pytest.fixture(scope="module", params=sorted(FRAMINGS))
__all__ = ["MAX_SIZE", "Keeper", "Outcome", "Talks", "implementations", "serve_all", "upgrade"]
