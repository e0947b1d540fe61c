"""The cases of h2spec 2.6.1 by its numbers, by TLS and on a plain port, for an application that reads the body or not.

Stricter than it: a connection error is the one GOAWAY that names the code and the end of the connection; after a stream
error the connection serves the next request.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import hpack
import pytest
import support
from fakes.http2 import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GET,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Frame,
    Reply,
    data,
    frame,
    goaway,
    headers,
    parse,
    ping,
    priority,
    raw_block,
    rst_stream,
    settings,
    window_update,
)
from fakes.worker import hello, respond
from garbage import assert_nothing_lives
from tls.pki import Pki
from tls.pki import serve as serve_tls

BODY = b"hello, world"
NEXT = 1001  # a stream that no case uses


async def reading(scope: Any, receive: Any, send: Any) -> None:
    """Read the whole body before the response."""
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.request":
        await respond(send, BODY)


class Talk:
    """A connection to a server, frame by frame."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.ended = False
        self.frames: list[Frame] = []
        self.replies: dict[int, Reply] = {}
        self.decoder = hpack.Decoder()

    def handshake(self) -> None:
        self.send(PREFACE + settings())
        self.wait(lambda each: each.type == SETTINGS and bool(each.flags & ACK))
        self.send(settings(ack=True))

    def send(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def wait(self, wanted: Callable[[Frame], bool]) -> Frame:
        """Return the first frame from here on, or of those that have come, that is wanted."""
        seen = 0
        while True:
            for each in self.frames[seen:]:
                if wanted(each):
                    return each
            seen = len(self.frames)
            assert not self.ended, f"the connection ended after {self.frames}"
            self.hear()

    def hear(self) -> None:
        try:
            octets = self.sock.recv(65536)
        except ConnectionResetError:
            octets = b""
        self.ended = not octets
        frames, self.rest = parse(self.rest + octets)
        for each in frames:
            self.frames.append(each)
            self.note(each)

    def note(self, each: Frame) -> None:
        reply = self.replies.setdefault(each.stream, Reply())
        if each.type == HEADERS:
            fields: list[Any] = list(self.decoder.decode(each.payload))
            reply.heads.append(fields)
        elif each.type == DATA:
            reply.body += each.payload
        elif each.type == RST_STREAM:
            reply.reset = each.number
        reply.ended |= each.ends

    def goaways(self) -> list[int]:
        return [int.from_bytes(each.payload[4:8], "big") for each in self.frames if each.type == GOAWAY]

    def serves(self) -> None:
        """The next request is served."""
        self.send(headers(NEXT) + window_update(NEXT, 100))
        self.response(NEXT)

    def response(self, stream: int = 1) -> None:
        self.wait(lambda each: each.stream == stream and each.ends)
        assert (self.replies[stream].status, self.replies[stream].body) == (200, BODY)
        assert self.replies[stream].reset in (None, NO_ERROR)


Step = bytes | Callable[[Talk], None]
Expect = Callable[[Talk], None]


class Case(NamedTuple):
    number: str
    what: str
    steps: tuple[Step, ...]
    expect: Expect


def connection(code: int) -> Expect:
    """A connection error of that code."""

    def expect(talk: Talk) -> None:
        while not talk.ended:
            talk.hear()
        assert talk.goaways() == [code]

    return expect


def stream(code: int, number: int = 1) -> Expect:
    """A stream error of that code, from which the connection takes no harm."""

    def expect(talk: Talk) -> None:
        found = talk.wait(lambda each: each.type in (RST_STREAM, GOAWAY))
        assert (found.type, found.stream, found.number) == (RST_STREAM, number, code)
        talk.serves()

    return expect


def answered(talk: Talk) -> None:
    talk.response()
    talk.serves()


def pinged(talk: Talk) -> None:
    """What was sent is accepted."""
    talk.send(ping(b"accepted"))
    talk.wait(lambda each: each == Frame(PING, ACK, 0, b"accepted"))
    assert not [each for each in talk.frames if each.type in (RST_STREAM, GOAWAY)]
    talk.serves()


def piece(size: int) -> Expect:
    """The first DATA of stream 1 has that size."""

    def expect(talk: Talk) -> None:
        found = talk.wait(lambda each: each.type == DATA and each.stream == 1)
        assert (len(found.payload), found.ends) == (size, False)

    return expect


def completed(talk: Talk) -> None:
    """Wait for the whole response."""
    talk.response()


def acknowledged(talk: Talk) -> None:
    """Wait for the acknowledgment of the SETTINGS after those of the handshake."""
    while sum(each.type == SETTINGS and bool(each.flags & ACK) for each in talk.frames) < 2:
        assert not talk.ended
        talk.hear()


def too_many_streams(talk: Talk) -> None:
    first = talk.wait(lambda each: each.type == SETTINGS)
    pairs = dict(struct.iter_unpack(">HI", first.payload))
    most = pairs[MAX_CONCURRENT_STREAMS]
    talk.send(b"".join(headers(2 * at + 1) for at in range(most + 1)))
    found = talk.wait(lambda each: each.type in (RST_STREAM, GOAWAY))
    assert (found.type, found.stream, found.number) == (RST_STREAM, 2 * most + 1, REFUSED_STREAM)
    talk.send(settings((INITIAL_WINDOW_SIZE, 1000)))
    talk.response(1)
    talk.response(2 * most - 1)
    talk.serves()


def with_field(name: str, value: str) -> bytes:
    return headers(1, [*GET, (name, value)])


def with_block(more: bytes, before: bytes = b"") -> bytes:
    return frame(HEADERS, END_HEADERS | END_STREAM, 1, before + raw_block(GET) + more)


def open_block(stream: int = 1, end: bool = True) -> bytes:
    """HEADERS that CONTINUATION has to follow."""
    return frame(HEADERS, END_STREAM if end else 0, stream, raw_block(GET if end else POST))


def continuation(stream: int = 1, end: bool = True) -> bytes:
    return frame(CONTINUATION, END_HEADERS if end else 0, stream, raw_block([("x-dummy", "0")]))


def upload(*more: bytes, length: int | None = None) -> bytes:
    fields = POST if length is None else [*POST, ("content-length", str(length))]
    return headers(1, fields, end=False) + b"".join(more)


NO_WINDOW = settings((INITIAL_WINDOW_SIZE, 0))  # keeps streams from completing
TEST_NAME = b"\x85\xf2\xb2\x4a\x84\xff"  # x-test in Huffman code
TEST_VALUE = b"\x84\x9c\x48\xac\xa4"  # h2spec
AGENT = b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93"  # user-agent
PLAIN_VALUE = b"\x06h2spec"


def cases() -> Iterator[Case]:
    def case(number: str, what: str, *steps: Step, to: Expect) -> Case:
        return Case(number, what, steps, to)

    closed = (headers(1), completed)
    reset = headers(1, POST, end=False) + rst_stream(1)

    yield case("generic/1/1", "preface", headers(1), to=answered)
    yield case("generic/2/1", "PRIORITY, idle", priority(1, 0, 255), to=pinged)
    yield case("generic/2/2", "WINDOW_UPDATE, half-closed", NO_WINDOW + headers(1) + window_update(1, 1), to=piece(1))
    yield case(
        "generic/2/3",
        "PRIORITY, half-closed",
        NO_WINDOW + headers(1) + priority(1, 0, 255) + window_update(1, 1),
        to=piece(1),
    )
    yield case("generic/2/4", "RST_STREAM, half-closed", NO_WINDOW + headers(1) + rst_stream(1), to=pinged)
    yield case("generic/2/5", "PRIORITY, closed", *closed, priority(1, 0, 255), to=pinged)
    yield case("generic/3.1/1", "DATA", upload(data(1, b"test", end=True)), to=answered)
    yield case("generic/3.1/2", "two DATA", upload(data(1, b"test"), data(1, b"test", end=True)), to=answered)
    yield case("generic/3.1/3", "padded DATA", upload(data(1, b"test", end=True, pad=5)), to=answered)
    yield case("generic/3.2/1", "HEADERS", headers(1), to=answered)
    padded = frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\x06" + raw_block(GET) + bytes(6))
    yield case("generic/3.2/2", "padded HEADERS", padded, to=answered)
    prior = frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, b"\0\0\0\0\xff" + raw_block(GET))
    yield case("generic/3.2/3", "HEADERS with priority", prior, to=answered)
    yield case("generic/3.3/1", "weight 1", priority(1, 0, 0) + headers(1), to=answered)
    yield case("generic/3.3/2", "weight 256", priority(1, 0, 255) + headers(1), to=answered)
    yield case("generic/3.3/3", "dependency", priority(1, 0, 255) + priority(3, 1, 255) + headers(1), to=answered)
    yield case("generic/3.3/4", "exclusive", priority(1, 1 << 31, 255) + headers(1), to=answered)
    yield case("generic/3.3/5", "of a higher idle stream", priority(5, 0, 255) + headers(1), to=answered)
    yield case("generic/3.4/1", "RST_STREAM", NO_WINDOW + headers(1) + rst_stream(1), to=pinged)
    yield case("generic/3.5/1", "SETTINGS", settings((INITIAL_WINDOW_SIZE, 100)), acknowledged, to=pinged)
    yield case("generic/3.7/1", "PING", to=pinged)
    yield case("generic/3.8/1", "GOAWAY", headers(1) + goaway(), to=completed)
    yield case("generic/3.9/1", "WINDOW_UPDATE, 0", window_update(0, 1), to=pinged)
    yield case("generic/3.9/2", "WINDOW_UPDATE, 1", NO_WINDOW + headers(1) + window_update(1, 1), to=piece(1))
    yield case("generic/3.10/1", "CONTINUATION", open_block() + continuation(), to=answered)
    yield case("generic/3.10/2", "two", open_block() + continuation(end=False) + continuation(), to=answered)
    yield case("generic/4/1", "GET", headers(1), to=answered)
    yield case("generic/4/2", "HEAD", headers(1, [(":method", "HEAD"), *GET[1:]]), to=without_body)
    yield case("generic/4/3", "POST", upload(data(1, b"test", end=True)), to=answered)
    yield case(
        "generic/4/4", "POST with trailers", upload(data(1, b"test"), headers(1, [("x-test", "ok")])), to=answered
    )
    for number, (what, representation) in enumerate(
        [
            ("indexed", b"\xba"),
            ("incremental, known name, Huffman code", b"\x7a" + TEST_VALUE),
            ("incremental, known name", b"\x7a" + PLAIN_VALUE),
            ("incremental, new name", b"\x40\x06x-test" + PLAIN_VALUE),
            ("incremental, new name, Huffman code", b"\x40" + TEST_NAME + TEST_VALUE),
            ("without indexing, name in full", b"\x00\x0auser-agent" + PLAIN_VALUE),
            ("without indexing, known name, Huffman code", b"\x0f\x2b" + TEST_VALUE),
            ("without indexing, new name", b"\x00\x06x-test" + PLAIN_VALUE),
            ("without indexing, new name, Huffman code", b"\x00" + TEST_NAME + TEST_VALUE),
            ("never indexed, name in full", b"\x10\x0auser-agent" + PLAIN_VALUE),
            ("never indexed, known name, Huffman code", b"\x1f\x2b" + TEST_VALUE),
            ("never indexed, new name", b"\x10\x06x-test" + PLAIN_VALUE),
            ("never indexed, new name, Huffman code", b"\x10" + TEST_NAME + TEST_VALUE),
        ],
        1,
    ):
        yield case(f"generic/5/{number}", what, with_block(representation), to=answered)
    yield case("generic/5/14", "size update", with_block(b"", b"\x20"), to=answered)
    yield case("generic/5/15", "two size updates", with_block(b"", b"\x20\x3f\xe1\x1f"), to=answered)

    yield case("http2/3.5/1", "preface", to=pinged)
    yield case("http2/4.1/1", "unknown type", frame(22, 0, 0, bytes(8)), to=pinged)
    yield case("http2/4.1/2", "undefined flags", frame(PING, 0xFE, 0, b"flags..."), to=pinged)
    yield case("http2/4.1/3", "reserved bit", frame(PING, 0, 1 << 31, b"reserved"), to=pinged)
    yield case("http2/4.2/1", "DATA of 16,384", upload(data(1, bytes(16384), end=True)), to=answered)
    yield case("http2/4.2/2", "DATA of more", upload(data(1, bytes(16385), end=True)), to=connection(FRAME_SIZE_ERROR))
    large = frame(HEADERS, END_HEADERS | END_STREAM, 1, raw_block(GET).ljust(16385, b"\x82"))
    yield case("http2/4.2/3", "HEADERS of more", large, to=connection(FRAME_SIZE_ERROR))
    broken = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\x01x\xff")
    yield case("http2/4.3/1", "invalid block", broken, to=connection(COMPRESSION_ERROR))
    between = priority(1, 0, 255) + continuation()
    yield case("http2/4.3/2", "PRIORITY within", open_block() + between, to=connection(PROTOCOL_ERROR))
    yield case("http2/4.3/3", "HEADERS within", open_block() + headers(3), to=connection(PROTOCOL_ERROR))
    for number, (what, octets) in enumerate(
        [
            ("DATA", data(1, b"test", end=True)),
            ("RST_STREAM", rst_stream(1)),
            ("WINDOW_UPDATE", window_update(1, 100)),
            ("CONTINUATION", continuation()),
        ],
        1,
    ):
        yield case(f"http2/5.1/{number}", f"idle: {what}", octets, to=connection(PROTOCOL_ERROR))
    half = NO_WINDOW + headers(1)
    yield case("http2/5.1/5", "half-closed: DATA", half + data(1, b"test", end=True), to=stream(STREAM_CLOSED))
    yield case("http2/5.1/6", "half-closed: HEADERS", half + headers(1), to=stream(STREAM_CLOSED))
    yield case("http2/5.1/7", "half-closed: CONTINUATION", half + continuation(), to=connection(PROTOCOL_ERROR))
    yield case("http2/5.1/8", "reset: DATA", reset + data(1, b"test", end=True), to=stream(STREAM_CLOSED))
    yield case("http2/5.1/9", "reset: HEADERS", reset + headers(1), to=stream(STREAM_CLOSED))
    yield case("http2/5.1/10", "reset: CONTINUATION", reset + continuation(), to=connection(PROTOCOL_ERROR))
    yield case("http2/5.1/11", "closed: DATA", *closed, data(1, b"test", end=True), to=stream(STREAM_CLOSED))
    yield case("http2/5.1/12", "closed: HEADERS", *closed, headers(1), to=connection(STREAM_CLOSED))
    yield case("http2/5.1/13", "closed: CONTINUATION", *closed, continuation(), to=connection(PROTOCOL_ERROR))
    yield case("http2/5.1.1/1", "even", headers(2), to=connection(PROTOCOL_ERROR))
    yield case("http2/5.1.1/2", "lower", headers(5) + headers(3), to=connection(PROTOCOL_ERROR))
    yield case("http2/5.1.2/1", "too many", NO_WINDOW, to=too_many_streams)
    itself = frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, b"\0\0\0\1\xff" + raw_block(GET))
    yield case("http2/5.3.1/1", "HEADERS on itself", itself, to=stream(PROTOCOL_ERROR))
    yield case("http2/5.3.1/2", "PRIORITY on itself", priority(1, 1), to=connection(PROTOCOL_ERROR))
    yield case("http2/5.4.1/1", "the connection closes", frame(PING, 0, 3, bytes(8)), to=connection(PROTOCOL_ERROR))
    yield case("http2/5.4.1/2", "GOAWAY comes", frame(PING, 0, 3, bytes(8)), to=connection(PROTOCOL_ERROR))
    yield case("http2/5.5/1", "unknown frame", frame(22, 0, 0, bytes(8)), to=pinged)
    within = open_block() + frame(22, 0, 0, bytes(8))
    yield case("http2/5.5/2", "unknown frame within a block", within, to=connection(PROTOCOL_ERROR))
    yield case("http2/6.1/1", "DATA on 0", data(0, b"test", end=True), to=connection(PROTOCOL_ERROR))
    posted = NO_WINDOW + headers(1, POST) + data(1, b"test", end=True)
    yield case("http2/6.1/2", "DATA on a stream that is not open", posted, to=stream(STREAM_CLOSED))
    padding = frame(DATA, PADDED | END_STREAM, 1, b"\x06test")
    yield case("http2/6.1/3", "pad length", upload(padding, length=4), to=connection(PROTOCOL_ERROR))
    yield case("http2/6.2/1", "PRIORITY within", open_block(end=False) + between, to=connection(PROTOCOL_ERROR))
    other = open_block(end=False) + headers(3) + continuation()
    yield case("http2/6.2/2", "HEADERS within", other, to=connection(PROTOCOL_ERROR))
    yield case("http2/6.2/3", "HEADERS on 0", headers(0), to=connection(PROTOCOL_ERROR))
    block = raw_block(GET)
    padding = frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, bytes([len(block) + 2]) + block)
    yield case("http2/6.2/4", "pad length", padding, to=connection(PROTOCOL_ERROR))
    yield case("http2/6.3/1", "PRIORITY on 0", priority(0), to=connection(PROTOCOL_ERROR))
    short = headers(1, POST, end=False) + frame(PRIORITY, 0, 1, bytes(4))
    yield case("http2/6.3/2", "size", short, to=connection(FRAME_SIZE_ERROR))
    yield case("http2/6.4/1", "RST_STREAM on 0", rst_stream(0), to=connection(PROTOCOL_ERROR))
    yield case("http2/6.4/2", "RST_STREAM, idle", rst_stream(1), to=connection(PROTOCOL_ERROR))
    short = headers(1, POST, end=False) + frame(RST_STREAM, 0, 1, bytes(3))
    yield case("http2/6.4/3", "size", short, to=connection(FRAME_SIZE_ERROR))
    yield case("http2/6.5/1", "ACK with payload", frame(SETTINGS, ACK, 0, b"\0"), to=connection(FRAME_SIZE_ERROR))
    yield case("http2/6.5/2", "on a stream", frame(SETTINGS, 0, 1, bytes(6)), to=connection(PROTOCOL_ERROR))
    yield case("http2/6.5/3", "size", frame(SETTINGS, 0, 0, bytes(3)), to=connection(FRAME_SIZE_ERROR))
    yield case("http2/6.5.2/1", "ENABLE_PUSH 2", settings((ENABLE_PUSH, 2)), to=connection(PROTOCOL_ERROR))
    wide = settings((INITIAL_WINDOW_SIZE, 1 << 31))
    yield case("http2/6.5.2/2", "INITIAL_WINDOW_SIZE", wide, to=connection(FLOW_CONTROL_ERROR))
    yield case("http2/6.5.2/3", "16,383", settings((MAX_FRAME_SIZE, 16383)), to=connection(PROTOCOL_ERROR))
    yield case("http2/6.5.2/4", "2**24", settings((MAX_FRAME_SIZE, 1 << 24)), to=connection(PROTOCOL_ERROR))
    yield case("http2/6.5.2/5", "unknown", settings((0xFF, 1)), acknowledged, to=pinged)
    twice = settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1))
    yield case("http2/6.5.3/1", "in their order", twice, acknowledged, headers(1), to=piece(1))
    yield case("http2/6.5.3/2", "acknowledged", settings((ENABLE_PUSH, 0)), acknowledged, to=pinged)
    yield case("http2/6.7/1", "PING", to=pinged)
    yield case("http2/6.7/2", "ACK", ping(b"invalid!", ack=True), to=not_echoed)
    yield case("http2/6.7/3", "on a stream", frame(PING, 0, 1, bytes(8)), to=connection(PROTOCOL_ERROR))
    yield case("http2/6.7/4", "size", frame(PING, 0, 0, bytes(6)), to=connection(FRAME_SIZE_ERROR))
    yield case("http2/6.8/1", "on a stream", frame(GOAWAY, 0, 1, bytes(8)), to=connection(PROTOCOL_ERROR))
    yield case("http2/6.9/1", "increment 0", window_update(0, 0), to=connection(PROTOCOL_ERROR))
    zero = NO_WINDOW + headers(1, POST, end=False) + window_update(1, 0)
    yield case("http2/6.9/2", "increment 0 on a stream", zero, to=stream(PROTOCOL_ERROR))
    yield case("http2/6.9/3", "size", frame(WINDOW_UPDATE, 0, 0, bytes(3)), to=connection(FRAME_SIZE_ERROR))
    one = settings((INITIAL_WINDOW_SIZE, 1))
    yield case("http2/6.9.1/1", "window of 1", one, acknowledged, headers(1), to=piece(1))
    most = 2**31 - 1
    beyond = window_update(0, most) + window_update(0, most)
    yield case("http2/6.9.1/2", "beyond 2**31-1", beyond, to=connection(FLOW_CONTROL_ERROR))
    beyond = NO_WINDOW + headers(1, POST, end=False) + window_update(1, most) + window_update(1, most)
    yield case("http2/6.9.1/3", "beyond 2**31-1 on a stream", beyond, to=stream(FLOW_CONTROL_ERROR))
    yield case("http2/6.9.2/1", "change after HEADERS", NO_WINDOW, acknowledged, headers(1), one, to=piece(1))
    yield case(
        "http2/6.9.2/2",
        "negative window",
        settings((INITIAL_WINDOW_SIZE, 3)) + headers(1),
        piece(3),
        settings((INITIAL_WINDOW_SIZE, 2)),
        window_update(1, 2),
        to=negative,
    )
    yield case("http2/6.9.2/3", "over the maximum", wide, to=connection(FLOW_CONTROL_ERROR))
    several = open_block() + continuation(end=False) + continuation()
    yield case("http2/6.10/1", "several", several, to=answered)
    then = open_block(end=False) + continuation(end=False) + data(1, b"test", end=True)
    yield case("http2/6.10/2", "DATA within", then, to=connection(PROTOCOL_ERROR))
    yield case("http2/6.10/3", "on 0", open_block() + continuation(0), to=connection(PROTOCOL_ERROR))
    yield case("http2/6.10/4", "after END_HEADERS", headers(1) + continuation(), to=connection(PROTOCOL_ERROR))
    again = open_block() + continuation() + continuation()
    yield case("http2/6.10/5", "after the last CONTINUATION", again, to=connection(PROTOCOL_ERROR))
    then = open_block(end=False) + data(1, b"test", end=True) + continuation()
    yield case("http2/6.10/6", "after DATA", then, to=connection(PROTOCOL_ERROR))
    yield case("http2/7/1", "GOAWAY with an unknown code", headers(1) + goaway(0, 0xFF), to=completed)
    unknown = NO_WINDOW + headers(1) + rst_stream(1, 0xFF)
    yield case("http2/7/2", "RST_STREAM with an unknown code", unknown, to=pinged)
    second = upload(data(1, b"test"), headers(1, [("x-test", "ok")], end=False))
    yield case("http2/8.1/1", "second HEADERS without END_STREAM", NO_WINDOW + second, to=stream(PROTOCOL_ERROR))
    yield case("http2/8.1.2/1", "upper case", with_field("X-TEST", "ok"), to=stream(PROTOCOL_ERROR))
    yield case("http2/8.1.2.1/1", "unknown pseudo-header", with_field(":test", "ok"), to=stream(PROTOCOL_ERROR))
    yield case("http2/8.1.2.1/2", "that of responses", with_field(":status", "200"), to=stream(PROTOCOL_ERROR))
    trailers = upload(data(1, b"test"), headers(1, [(":method", "POST")]))
    yield case("http2/8.1.2.1/3", "in trailers", NO_WINDOW + trailers, to=stream(PROTOCOL_ERROR))
    yield case("http2/8.1.2.1/4", "late", headers(1, [("x-test", "ok"), *GET]), to=stream(PROTOCOL_ERROR))
    yield case("http2/8.1.2.2/1", "connection", with_field("connection", "keep-alive"), to=stream(PROTOCOL_ERROR))
    yield case("http2/8.1.2.2/2", "te", with_field("te", "trailers, deflate"), to=stream(PROTOCOL_ERROR))
    for number, (what, fields) in enumerate(
        [
            ("empty :path", [(name, "" if name == ":path" else value) for name, value in GET]),
            ("no :method", [pair for pair in GET if pair[0] != ":method"]),
            ("no :scheme", [pair for pair in GET if pair[0] != ":scheme"]),
            ("no :path", [pair for pair in GET if pair[0] != ":path"]),
            ("two :method", [*GET, (":method", "GET")]),
            ("two :scheme", [*GET, (":scheme", "http")]),
            ("two :path", [*GET, (":path", "/")]),
        ],
        1,
    ):
        yield case(f"http2/8.1.2.3/{number}", what, headers(1, fields), to=stream(PROTOCOL_ERROR))
    longer = NO_WINDOW + upload(data(1, b"test", end=True), length=1)
    yield case("http2/8.1.2.6/1", "content-length", longer, to=stream(PROTOCOL_ERROR))
    longer = NO_WINDOW + upload(data(1, b"te"), data(1, b"st", end=True), length=1)
    yield case("http2/8.1.2.6/2", "content-length of several DATA", longer, to=stream(PROTOCOL_ERROR))
    promise = frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x03" + raw_block(GET))
    yield case("http2/8.2/1", "PUSH_PROMISE", headers(1) + promise, to=connection(PROTOCOL_ERROR))

    for name, what, octets in (
        ("2.3.3/1", "index", with_block(b"\xc6")),
        ("2.3.3/2", "index of a name", with_block(b"\x7f\x07\x02ok")),
        ("4.2/1", "size update at the end", with_block(b"\x21")),
        ("5.2/1", "padding over 7 bits", with_block(b"\x00" + TEST_NAME + b"\x84\x49\x50\x9f\xff")),
        ("5.2/2", "padding of zeros", with_block(b"\x00" + TEST_NAME + b"\x83\x49\x50\x90")),
        ("5.2/3", "EOS", with_block(b"\x00" + TEST_NAME + b"\x84\xff\xff\xff\xff")),
        ("6.1/1", "index 0", with_block(b"\x80")),
        ("6.3/1", "size over the maximum", with_block(b"", b"\x3f\xe2\x1f")),
    ):
        yield case(f"hpack/{name}", what, octets, to=connection(COMPRESSION_ERROR))


def without_body(talk: Talk) -> None:
    found = talk.wait(lambda each: each.stream == 1 and each.ends)
    assert (found.type, talk.replies[1].status) == (HEADERS, 200)
    talk.serves()


def not_echoed(talk: Talk) -> None:
    pinged(talk)
    assert [each.payload for each in talk.frames if each.type == PING] == [b"accepted"]


def negative(talk: Talk) -> None:
    """3 bytes leave, then the window is -1, then 1."""
    talk.wait(lambda each: each.type == DATA and len(each.payload) == 1)
    talk.send(ping(b"accepted"))
    talk.wait(lambda each: each.type == PING)  # a reply to PING does not wait for DATA, so it is asked for after it
    assert [len(each.payload) for each in talk.frames if each.type == DATA] == [3, 1]


CASES = tuple(cases())
PREFACE_OVER_TLS = "http2/3.5/2"  # on a plain port it is HTTP/1.1's

# How many h2spec has of each section.
SECTIONS = {
    "generic": {"1": 1, "2": 5, "3.1": 3, "3.2": 3, "3.3": 5, "3.4": 1, "3.5": 1, "3.7": 1, "3.8": 1, "3.9": 2}
    | {"3.10": 2, "4": 4, "5": 15},
    "http2": {"3.5": 2, "4.1": 3, "4.2": 3, "4.3": 3, "5.1": 13, "5.1.1": 2, "5.1.2": 1, "5.3.1": 2, "5.4.1": 2}
    | {"5.5": 2, "6.1": 3, "6.2": 4, "6.3": 2, "6.4": 3, "6.5": 3, "6.5.2": 5, "6.5.3": 2, "6.7": 4, "6.8": 1}
    | {"6.9": 3, "6.9.1": 3, "6.9.2": 3, "6.10": 6, "7": 2, "8.1": 1, "8.1.2": 1, "8.1.2.1": 4, "8.1.2.2": 2}
    | {"8.1.2.3": 7, "8.1.2.6": 2, "8.2": 1},
    "hpack": {"2.3.3": 2, "4.2": 1, "5.2": 3, "6.1": 1, "6.3": 1},
}


def test_none_is_missing() -> None:
    wanted = [
        f"{part}/{section}/{number}"
        for part, sections in SECTIONS.items()
        for section, count in sections.items()
        for number in range(1, count + 1)
    ]
    assert len(wanted) == 147
    assert sorted([*(each.number for each in CASES), PREFACE_OVER_TLS]) == sorted(wanted)


@pytest.fixture(
    scope="module",
    params=[(tls, reads) for tls in (False, True) for reads in (True, False)],
    ids=["plain-reads", "plain-ignores", "tls-reads", "tls-ignores"],
)
def server(request: pytest.FixtureRequest, pki: Pki) -> Iterator[support.Running]:
    """Serve by each transport, and for an application that reads the body and one that does not."""
    tls, reads = request.param
    app = reading if reads else hello(BODY)
    running: support.Running
    if tls:
        secure = serve_tls(pki, app, access_log=False)
        secure.context.set_alpn_protocols(["h2"])
        running = secure
    else:
        running = support.serve(app, access_log=False)
    yield running
    running.stop()
    assert_nothing_lives()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.number)
def test_case(server: support.Running, case: Case) -> None:
    with server.connect() as sock:
        talk = Talk(sock)
        talk.handshake()
        for step in case.steps:
            if isinstance(step, bytes):
                talk.send(step)
            else:
                step(talk)
        case.expect(talk)


def test_invalid_preface(server: support.Running) -> None:
    with server.connect() as sock:
        talk = Talk(sock)
        talk.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
        if server.url.startswith("https"):
            connection(PROTOCOL_ERROR)(talk)
        else:
            assert support.read_all(sock).startswith(b"HTTP/1.1 501 ")
