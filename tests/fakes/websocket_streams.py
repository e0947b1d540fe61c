"""A client whose WebSocket is a stream of HTTP/2 (RFC 8441), for tests that speak HTTP/1.1, translated."""

from __future__ import annotations

from typing import Any

from fakes.http2 import (
    CANCEL,
    INITIAL_WINDOW_SIZE,
    PING,
    Frame,
    Http2Client,
    Reply,
    data,
    headers,
    ping,
    rst_stream,
    window_update,
)
from fakes.worker import FakeWorker, Peer

FIRST_WINDOW, LARGEST_WINDOW = 65535, 2**31 - 1
LARGEST_FRAME = 16384
LEFT_OUT = {"connection", "upgrade", "sec-websocket-key", "host"}


class Direct:
    """A worker to which its clients connect without a translation."""

    def __init__(self, wire: FakeWorker) -> None:
        self.wire = wire

    def connect(self, **extra: Any) -> Peer:
        return Peer(self.wire, extra)

    def settle(self) -> None:
        self.wire.settle()


class StreamTransport:
    """The transport of one stream, as far as its client can tell."""

    def __init__(self, peer: StreamPeer) -> None:
        self.peer = peer
        self.whole = peer.client.peer.transport

    @property
    def writes(self) -> list[bytes]:
        """What was written to the whole connection since take() was called."""
        self.peer.listen()
        return self.peer.written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    @property
    def stuck(self) -> bool:
        return bool(self.whole.stuck)

    @stuck.setter
    def stuck(self, value: bool) -> None:
        self.whole.stuck = value

    @property
    def closed(self) -> bool:
        self.peer.listen()
        return self.peer.ended

    lost = closed

    @property
    def calls(self) -> list[str]:
        """What has become of the server's side of it."""
        self.peer.listen()
        reply = self.peer.reply
        return (["write_eof"] if reply.ended else []) + (["abort"] if reply.reset is not None else [])

    @property
    def reading(self) -> bool:
        self.peer.listen()
        return not self.peer.unsent and self.peer.credit > 0


class StreamPeer(Peer):
    STREAM = 1

    def __init__(self, wire: FakeWorker, extra: dict[str, Any]) -> None:
        self.wire = wire
        self.client = Http2Client(Direct(wire), (INITIAL_WINDOW_SIZE, LARGEST_WINDOW), **extra)
        self.client.send(window_update(0, LARGEST_WINDOW - FIRST_WINDOW))
        self.connection = self.client.peer.connection
        self.transport: Any = StreamTransport(self)
        self.request = b""
        self.asked = self.has_ended = self.has_left = False
        self.pings: list[Frame] = []
        self.written: list[bytes] = []
        self.unsent = b""  # what the stream's window does not hold
        self.spent = 0
        self.shown = 0  # heads and bytes of the reply that take() has returned
        self.has_head = False

    @property
    def reply(self) -> Reply:
        return self.client.replies.setdefault(self.STREAM, Reply())

    @property
    def credit(self) -> int:
        return FIRST_WINDOW + self.client.updates(self.STREAM) - self.spent

    @property
    def ended(self) -> bool:
        self.listen()
        return self.has_left or self.reply.ended or self.reply.reset is not None or self.client.closed

    def listen(self) -> None:
        self.written += self.client.peer.transport.writes
        new = self.client.take(self.client.peer.take())
        self.pings += [each for each in new if each.type == PING and not each.flags]

    def frames(self, raw: bytes) -> bytes:
        """What of it can be sent now, in frames."""
        out = b""
        if not self.asked:
            head, end, rest = (self.request + raw).partition(b"\r\n\r\n")
            self.request += raw
            if not end:
                return b""
            self.asked, raw = True, rest
            out = headers(self.STREAM, extended(head.decode("latin-1").split("\r\n")), end=False)
        self.unsent += raw
        while self.unsent and self.credit > 0:
            piece = self.unsent[: min(self.credit, LARGEST_FRAME)]
            self.unsent = self.unsent[len(piece) :]
            self.spent += len(piece)
            out += data(self.STREAM, piece)
        return out

    def react(self) -> bool:
        """Send what the server takes by now, and what it expects."""
        self.listen()
        out = b"" if self.ended else self.frames(b"")
        out += b"".join(ping(each.payload, ack=True) for each in self.pings)
        self.pings.clear()
        if self.reply.ended and self.reply.reset is None and not self.has_ended and not self.client.closed:
            self.has_ended = True
            out += data(self.STREAM, end=True)
        if out:
            self.client.peer.put(out)
        return bool(out)

    def put(self, data: bytes) -> None:
        self.listen()
        out = self.frames(data)
        if out and not self.ended:
            self.client.peer.put(out)

    def feed(self, data: bytes) -> bytes:
        self.put(data)
        self.wire.settle()
        return self.take()

    def eof(self) -> bytes:
        if not self.ended and not self.has_ended:
            self.has_ended = True
            self.client.send(data(self.STREAM, end=True))
        return self.take()

    def lose(self) -> None:
        self.has_left = True
        self.client.send(rst_stream(self.STREAM, CANCEL))

    def take(self) -> bytes:
        """What has come since the last call, as over HTTP/1.1."""
        self.listen()
        self.written.clear()
        reply, out = self.reply, b""
        if reply.heads and not self.has_head:
            self.has_head = True
            status, fields = reply.heads[0][0][1], reply.heads[0][1:]
            out = f"HTTP/1.1 {101 if status == '200' else status} \r\n".encode()
            if status == "200":
                fields += [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", "")]
            else:
                fields.append(("connection", "close"))
            out += b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in fields) + b"\r\n"
        out += reply.body[self.shown :]
        self.shown = len(reply.body)
        return out


def extended(lines: list[str]) -> list[tuple[str, str]]:
    """The extended CONNECT for the lines of an upgrade."""
    path = lines[0].split(" ")[1]
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path)]
    regular = [(name, value) for name, value in fields if name not in LEFT_OUT]
    return [*pseudo, (":authority", dict(fields)["host"]), *regular]
