"""The exchanges that are timed and counted without sockets: what arrives, and which application answers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.load import apps
from bench.load.rows import BROWSER_HEADERS


@dataclass(frozen=True)
class Exchange:
    """One kind of exchange. Each of `reads` arrives in a loop turn of its own; `answers` is how many come back.

    With `http2` the reads are HTTP/2 frames, whose streams count from 1. `fresh` gives each exchange a connection of
    its own, which the server closes; `options` are those of the server; `access_log` writes the access log, in
    `log_format`; `by_route` counts by the route that the application finds; `wsgi` is of the application, which is
    then called in the loop's thread, with `inline` as with --wsgi-threads 0. With `websocket` a connection begins with
    the handshake, which is not counted; with `topics` the loop has them, as once an application has imported them.
    """

    name: str
    app: Callable[..., Any]
    reads: tuple[bytes, ...]
    answers: int = 1
    fresh: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    access_log: bool = False
    log_format: str = "default"
    by_route: bool = False
    wsgi: bool = False
    inline: bool = False
    http2: bool = False
    websocket: bool = False
    topics: bool = False

    def reads_of(self, number: int) -> tuple[bytes, ...]:
        """Return the reads of the exchange of this number on a connection: over HTTP/2 each has streams of its own."""
        if not self.http2:
            return self.reads
        reads = [moved(read, 2 * self.answers * number) for read in self.reads]
        return (_OPENING + reads[0], *reads[1:]) if number == 0 else tuple(reads)


def head(method: str = "GET", headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """The bytes of a request head."""
    lines = [f"{method} / HTTP/1.1", "Host: 127.0.0.1:8000", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, 1) + payload


def moved(frames: bytes, by: int) -> bytes:
    """Return HTTP/2 frames with the numbers of their streams, of which none is 0, raised by so much."""
    at, out = 0, bytearray(frames)
    while at < len(frames):
        (stream,) = struct.unpack_from(">I", frames, at + 5)
        struct.pack_into(">I", out, at + 5, stream + by)
        at += 9 + int.from_bytes(frames[at : at + 3], "big")
    return bytes(out)


def head2(method: str = "GET", headers: tuple[tuple[str, str], ...] = (), ends: bool = True) -> bytes:
    """A HEADERS frame on stream 1 with fields that are not indexed."""
    fields = [(":method", method), (":scheme", "http"), (":path", "/"), (":authority", "127.0.0.1:8000")]
    fields += [(name.lower(), value) for name, value in headers if name.lower() not in ("connection", "host")]
    block = b"".join(b"\0" + _string(name.encode()) + _string(value.encode()) for name, value in fields)
    return _frame(1, 5 if ends else 4, block)


def _string(text: bytes) -> bytes:
    return (bytes([len(text)]) if len(text) < 127 else bytes([127, len(text) - 127])) + text


def _pieces(body: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(body[start : start + size] for start in range(0, len(body), size))


def _sized(length: int) -> bytes:
    return head("POST", (("Content-Length", str(length)),))


def _text(payload: bytes) -> bytes:
    """A frame of a WebSocket's client: text of up to 65,535 bytes, masked by a key that changes it."""
    size = struct.pack(">B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack(">BH", 0xFE, len(payload))
    key = b"\x01\x02\x04\x08"
    return b"\x81" + size + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


async def _publishing(scope: apps.Scope, receive: apps.Receive, send: apps.Send) -> None:
    """Publishes each message to a topic that has this connection alone."""
    from fastserve import topics  # the other exchanges do without

    await receive()
    await send({"type": "websocket.accept"})
    topic = f"room-{id(send)}"
    await topics.subscribe(send, topic)
    while (message := await receive())["type"] == "websocket.receive":
        topics.publish(topic, message["text"])


class _Route:
    path = "/items/{id}"


_ROUTE = _Route()


async def _routed(scope: apps.Scope, receive: apps.Receive, send: apps.Send) -> None:
    """As hello, with what a framework leaves in the scope."""
    scope["route"] = _ROUTE
    await apps.hello(scope, receive, send)


GET = head()
UPGRADE = head(
    headers=(
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    )
)
# The preface, and windows that nothing fills.
_OPENING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff\0\0\x04\x08\0\0\0\0\0\x7f\xff\0\0"
)
BROWSER = head(headers=BROWSER_HEADERS)
_KIB = b"x" * 1024
_BODY = b"x" * 65536
_TEXT = _text(b"x" * 128)
_FORWARDED = head(headers=(("Forwarded", "for=192.0.2.7;proto=https;by=10.0.0.1, for=127.0.0.1"),))
_CHUNKED = head("POST", (("Transfer-Encoding", "chunked"),))

EXCHANGES: tuple[Exchange, ...] = (
    Exchange("hello", apps.hello, (GET,)),
    Exchange("browser", apps.hello, (BROWSER,)),
    Exchange("response-headers", apps.response_headers, (GET,)),
    Exchange("access-log", apps.hello, (GET,), access_log=True),
    Exchange("json-log", apps.hello, (GET,), access_log=True, log_format="json"),
    Exchange("json-log-browser", apps.hello, (BROWSER,), access_log=True, log_format="json"),
    Exchange("route", _routed, (GET,)),
    Exchange("route-metrics", _routed, (GET,), by_route=True),
    Exchange("pipelined", apps.hello, (GET * 16,), answers=16),
    Exchange("forwarded", apps.hello, (_FORWARDED,), options={"proxy_headers_family": "forwarded"}),
    Exchange("new-connection", apps.hello, (head(headers=(("Connection", "close"),)),), fresh=True),
    Exchange("split-head", apps.hello, (BROWSER[:300], BROWSER[300:])),
    Exchange("suspend", apps.suspend, (GET,)),
    Exchange("post-1k", apps.echo, (_sized(1024) + _KIB,)),
    Exchange("post-late", apps.echo, (_sized(1024), _KIB)),
    Exchange("post-64k", apps.echo, (_sized(65536) + _BODY[:16384], *_pieces(_BODY[16384:], 16384))),
    Exchange("post-chunked", apps.echo, (_CHUNKED + b"400\r\n" + _KIB + b"\r\n" + b"0\r\n\r\n",)),
    Exchange("stream", apps.stream, (GET,)),
    Exchange("ws-128", apps.websocket, (_TEXT,), websocket=True),
    Exchange("ws-128-topics", apps.websocket, (_TEXT,), websocket=True, topics=True),
    Exchange("publish", _publishing, (_TEXT,), websocket=True, topics=True),
    Exchange("wsgi", apps.wsgi_hello, (GET,), wsgi=True),
    Exchange("wsgi-inline", apps.wsgi_hello, (GET,), wsgi=True, inline=True),
    Exchange("wsgi-post-inline", apps.wsgi_echo, (_sized(1024) + _KIB,), wsgi=True, inline=True),
    Exchange("http2-hello", apps.hello, (head2(),), http2=True),
    Exchange("http2-16", apps.hello, (b"".join(moved(head2(), 2 * at) for at in range(16)),), answers=16, http2=True),
    Exchange("http2-browser", apps.hello, (head2(headers=BROWSER_HEADERS),), http2=True),
    Exchange("http2-response-headers", apps.response_headers, (head2(),), http2=True),
    Exchange("http2-post-1k", apps.echo, (head2("POST", ends=False) + _frame(0, 1, _KIB),), http2=True),
    Exchange("http2-stream", apps.stream, (head2(),), http2=True),
)
BY_NAME: dict[str, Exchange] = {exchange.name: exchange for exchange in EXCHANGES}
