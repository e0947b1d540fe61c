"""WebSockets of a client of HTTP/2 (RFC 8441)."""

from __future__ import annotations

from fakes.http2 import Http2Client, data, headers
from fakes.worker import FakeWorker
from ws import read_frames

Fields = list[tuple[str, str]]

WEBSOCKET: Fields = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat"),
    (":authority", "a"),
    ("sec-websocket-version", "13"),
]


def changed(name: str, value: str | None) -> Fields:
    """The handshake with another value of a field, or without it."""
    return [(each, value if each == name else old) for each, old in WEBSOCKET if each != name or value is not None]  # type: ignore[misc]


def without(name: str) -> Fields:
    return changed(name, None)


def opening(stream: int = 1, *fields: tuple[str, str]) -> bytes:
    return headers(stream, [*WEBSOCKET, *fields], end=False)


def opened(wire: FakeWorker, *pairs: tuple[int, int], stream: int = 1) -> Http2Client:
    """A client whose WebSocket is open."""
    client = Http2Client(wire, *pairs)
    client.send(opening(stream))
    assert client.replies[stream].status == 200
    return client


def frames(client: Http2Client, stream: int = 1) -> list[tuple[int, bytes]]:
    """What has come on a stream since the last call."""
    client.hear()
    reply = client.replies[stream]
    taken, reply.body = reply.body, b""
    return read_frames(taken)


def exchange(client: Http2Client, payload: bytes, stream: int = 1) -> list[tuple[int, bytes]]:
    client.send(data(stream, payload))
    return frames(client, stream)
