"""The client's half of a WebSocket in raw bytes, as strict as the server is expected to write."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Any

import pytest
import support
from bridge import Bridge
from core.frames import CLOSE, FIN, frame
from fakes.worker import FakeWorker, Peer
from protocol.wire import Response, Wire, response

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # for that key (RFC 6455 section 1.3)

# The --ws of each implementation, and the class of those in Python.
FRAMINGS = {
    "auto": "",
    "websockets": "fastserve.protocols.websockets.websockets_sansio_impl:WebSocketsFraming",
    "wsproto": "fastserve.protocols.websockets.wsproto_impl:WsprotoFraming",
}
OVER_HTTP1 = [*sorted(FRAMINGS), "h11"]  # of the fixture `clients`
Frame = tuple[int, bytes]
CONNECT = {"type": "websocket.connect"}
ACCEPTS = {"type": "websocket.accept"}


def framing_class(name: str) -> Any:
    """The class of an implementation, None for the core's own; skips the test where its package is missing."""
    if not FRAMINGS[name]:
        return None
    pytest.importorskip(name)
    module, _, attribute = FRAMINGS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def upgrade(
    path: str = "/",
    *fields: str,
    method: str = "GET",
    http: str = "1.1",
    connection: str = "Upgrade",
    protocol: str = "websocket",
    version: str | None = "13",
    key: str | None = KEY,
) -> bytes:
    """A handshake; None leaves its field out."""
    lines = [f"{method} {path} HTTP/{http}", "Host: x", f"Connection: {connection}", f"Upgrade: {protocol}"]
    if version is not None:
        lines.append(f"Sec-WebSocket-Version: {version}")
    if key is not None:
        lines.append(f"Sec-WebSocket-Key: {key}")
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1")


def close(code: int | None = 1000, reason: str = "") -> bytes:
    """A client's close frame."""
    return frame(FIN | CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode())


def closing(code: int | None, reason: str = "") -> Frame:
    """What read_frames() gives for a server's close frame."""
    return CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode()


def read_frame(file: Any) -> Frame | None:
    """The next frame of a server, None at the end; it must be final, plain and not masked."""
    head = file.read(2)
    if not head:
        return None
    assert head[0] & 0xF0 == FIN, f"not a plain final frame: {head!r}"
    assert not head[1] & 0x80, "a server's frame is masked"
    size = head[1]
    if size > 125:
        size = int.from_bytes(file.read(2 if size == 126 else 8), "big")
        assert size > 125, "a length in more bytes than it needs"
    payload = file.read(size)
    assert len(payload) == size, f"{size} bytes were to come, {len(payload)} came"
    return head[0] & 15, payload


def read_frames(data: bytes) -> list[Frame]:
    """The frames that `data` consists of."""
    file = io.BytesIO(data)
    return list(iter(lambda: read_frame(file), None))


def split_response(data: bytes) -> tuple[Response, list[Frame]]:
    """The response to a handshake, and the frames after it."""
    file = io.BytesIO(data)
    return response(file), read_frames(file.read())


def opened(wire: FakeWorker, behind: bytes = b"") -> Peer:
    """A client whose WebSocket is open; `behind` comes in one packet with its handshake."""
    peer = wire.connect()
    found, frames = split_response(peer.feed(upgrade() + behind))
    assert found.status == 101
    if not behind:
        assert frames == []
    return peer


class Socket(Wire):
    """A real connection that has asked for a WebSocket."""

    def open(self, path: str = "/", *fields: str) -> Response:
        found = self.ask(upgrade(path, *fields))
        assert found.status == 101, found
        return found

    def __enter__(self) -> Socket:
        return self

    def frame(self) -> Frame | None:
        return read_frame(self.file)

    def send(self, data: bytes) -> Socket:
        super().send(data)
        return self

    def frames(self) -> list[Frame]:
        """All that come until the server ends the connection."""
        return read_frames(self.rest())


class Clients:
    """Serves applications with one implementation, and connects to the last: clients(app, **config) -> Socket."""

    def __init__(self, serve: support.Serve, implementation: str, *, bridged: bool = False) -> None:
        framing_class(implementation)
        self.serve = serve
        self.bridged = bridged
        self.bridges: list[Bridge] = []
        self.implementation = implementation
        self.running: support.Running
        self.sockets: list[Socket] = []

    def __call__(self, app: Any = None, **config: Any) -> Socket:
        if app is not None:
            self.running = self.serve(app, **{"ws": self.implementation, **config})
            if self.bridged:
                self.bridges.append(Bridge(self.running.port).start())
        sock = self.bridges[-1].connect() if self.bridged else self.running.connect()
        self.sockets.append(Socket(sock))
        return self.sockets[-1]

    def close(self) -> None:
        """Leave without a word."""
        while self.sockets:
            self.sockets.pop().close()
        while self.bridges:
            self.bridges.pop().stop()

    def stop(self) -> None:
        """Leave, and wait until the server has stopped: then the applications have seen all there was."""
        self.close()
        self.running.stop()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Accepts, and sends back what comes until the client closes."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


def disconnect(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


def received(value: str | bytes) -> dict[str, Any]:
    return {"type": "websocket.receive", ("text" if isinstance(value, str) else "bytes"): value}


def sent(value: str | bytes) -> dict[str, Any]:
    return {"type": "websocket.send", ("text" if isinstance(value, str) else "bytes"): value}


class Raises:
    """Accepts, sends what it is given after the client's first message, and keeps what is raised."""

    def __init__(self, *messages: Any, first: Any = ACCEPTS) -> None:
        self.first = first
        self.messages = messages
        self.errors: list[tuple[type, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(self.first)
        await receive()
        for message in self.messages:
            try:
                await send(message)
            except Exception as error:
                self.errors.append((type(error), str(error)))

    @property
    def kinds(self) -> list[type]:
        return [kind for kind, _ in self.errors]


class Script:
    """An application that accepts, does what it was given to, and keeps what receive() gave."""

    def __init__(self, body: Callable[..., Any] | None = None) -> None:
        self.body = body
        self.got: list[Any] = []
        self.scope: dict[str, Any] = {}
        self.error: BaseException | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope

        async def noted() -> Any:
            self.got.append(await receive())
            return self.got[-1]

        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept"})
        try:
            if self.body is not None:
                await self.body(noted, send)
            else:
                while (await noted())["type"] != "websocket.disconnect":
                    pass
        except BaseException as exc:
            self.error = exc
            raise
