"""An HTTP/2 client that says what a test says, frame by frame, and what it hears."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM = ACK = 1
END_HEADERS, PADDED, WITH_PRIORITY = 4, 8, 32

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)
INADEQUATE_SECURITY = 12

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
MAX_HEADER_LIST_SIZE, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 6, 8, 9

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
POST = [(":method", "POST"), *GET[1:]]

Fields = Iterable[tuple[str, str]]


class Frame(NamedTuple):
    type: int
    flags: int
    stream: int
    payload: bytes

    @property
    def number(self) -> int:
        """The payload of RST_STREAM and WINDOW_UPDATE."""
        return int.from_bytes(self.payload, "big")

    @property
    def ends(self) -> bool:
        return self.type in (DATA, HEADERS) and bool(self.flags & END_STREAM)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs: tuple[int, int], ack: bool = False) -> bytes:
    return frame(SETTINGS, ACK if ack else 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def data(stream: int, payload: bytes = b"", end: bool = False, pad: int | None = None) -> bytes:
    flags = END_STREAM if end else 0
    if pad is not None:
        return frame(DATA, flags | PADDED, stream, bytes([pad]) + payload + bytes(pad))
    return frame(DATA, flags, stream, payload)


def window_update(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def rst_stream(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def ping(payload: bytes = b"12345678", ack: bool = False) -> bytes:
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last: int = 0, code: int = NO_ERROR, text: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + text)


def priority(stream: int, depends: int = 0, weight: int = 15) -> bytes:
    return frame(PRIORITY, 0, stream, struct.pack(">IB", depends, weight))


def raw_block(fields: Fields) -> bytes:
    """A header block without Huffman code and table."""
    block = b""
    for name, value in fields:
        block += b"\0" + _string(name.encode("latin-1")) + _string(value.encode("latin-1"))
    return block


def _string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)]) + text
    size, rest = b"\x7f", len(text) - 127
    while rest >= 128:
        size += bytes([rest & 127 | 128])
        rest >>= 7
    return size + bytes([rest]) + text


def headers(stream: int, fields: Fields = GET, end: bool = True, flags: int = 0) -> bytes:
    """HEADERS as one frame."""
    flags |= END_HEADERS | (END_STREAM if end else 0)
    return frame(HEADERS, flags, stream, raw_block(fields))


def headers_in_pieces(stream: int, fields: Fields, sizes: Iterable[int], end: bool = True) -> bytes:
    """HEADERS with the first size of bytes, and CONTINUATION frames of the others; the last takes the rest."""
    block, frames, kind, flags = raw_block(fields), b"", HEADERS, END_STREAM if end else 0
    for size in sizes:
        frames += frame(kind, flags, stream, block[:size])
        block, kind, flags = block[size:], CONTINUATION, 0
    return frames + frame(kind, flags | END_HEADERS, stream, block)


def parse(output: bytes) -> tuple[list[Frame], bytes]:
    """Return the complete frames, and what is left."""
    frames, at = [], 0
    while len(output) >= at + 9:
        size = int.from_bytes(output[at : at + 3], "big")
        if len(output) < at + 9 + size:
            break
        kind, flags, stream = struct.unpack(">BBI", output[at + 3 : at + 9])
        frames.append(Frame(kind, flags, stream, output[at + 9 : at + 9 + size]))
        at += 9 + size
    return frames, output[at:]


class Reply:
    """What a client has heard of one stream."""

    def __init__(self) -> None:
        self.heads: list[list[tuple[str, str]]] = []  # interim ones, the response's, and trailers
        self.body = b""
        self.ended = False
        self.reset: int | None = None

    @property
    def head(self) -> dict[str, str]:
        """The fields of the first head that is not interim."""
        return next(dict(head) for head in self.heads if not head[0][1].startswith("1"))

    @property
    def status(self) -> int:
        return int(self.head[":status"])


class Http2Client:
    """One connection of a FakeWorker whose client speaks HTTP/2."""

    def __init__(self, wire: Any, *pairs: tuple[int, int], begin: bool = True, **extra: Any) -> None:
        self.wire = wire
        self.peer = wire.connect(**extra)
        self.decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self.rest = b""
        self.heard: list[Frame] = []
        self.replies: dict[int, Reply] = {}
        self.block = b""
        if begin:
            self.send(PREFACE + settings(*pairs))

    def send(self, *pieces: bytes) -> list[Frame]:
        """Send each piece as a packet of its own; return the frames that come back."""
        return self.take(b"".join(self.peer.feed(piece) for piece in pieces))

    def hear(self) -> list[Frame]:
        """Return the frames that have come by themselves."""
        self.wire.settle()
        return self.take(self.peer.take())

    def take(self, output: bytes) -> list[Frame]:
        frames, self.rest = parse(self.rest + output)
        self.heard += frames
        for each in frames:
            self.note(each)
        return frames

    def note(self, each: Frame) -> None:
        if each.stream == 0:
            return
        reply = self.replies.setdefault(each.stream, Reply())
        assert not reply.ended or each.type in (RST_STREAM, WINDOW_UPDATE), "a frame after END_STREAM"
        assert reply.reset is None, "a frame after RST_STREAM"
        if each.type in (HEADERS, CONTINUATION):
            self.block += each.payload
            if each.flags & END_HEADERS:
                fields: list[Any] = list(self.decoder.decode(self.block))
                reply.heads.append(fields)
                self.block = b""
        elif each.type == DATA:
            assert any(not head[0][1].startswith("1") for head in reply.heads), "DATA before HEADERS"
            reply.body += each.payload
        elif each.type == RST_STREAM:
            reply.reset = each.number
        reply.ended |= each.ends

    def ask(self, stream: int, fields: Fields = GET, body: bytes | None = None) -> Reply:
        """Send a request at once; return what is heard of it."""
        out = headers(stream, fields, end=body is None)
        if body is not None:
            out += data(stream, body, end=True)
        self.send(out)
        return self.replies[stream]

    @property
    def closed(self) -> bool:
        """Whether the server has ended the connection."""
        return bool(self.peer.ended)

    @property
    def goaways(self) -> list[tuple[int, int]]:
        """The (last stream, error code) of each GOAWAY heard."""
        return [struct.unpack(">II", each.payload[:8]) for each in self.heard if each.type == GOAWAY]

    @property
    def error(self) -> int | None:
        """The code of the GOAWAY with which the server has closed the connection."""
        return self.goaways[-1][1] if self.closed and self.goaways else None

    def updates(self, stream: int) -> int:
        """How much more the server has let the client send."""
        return sum(each.number for each in self.heard if each.type == WINDOW_UPDATE and each.stream == stream)
