"""The same frames to this server, to the package h2 and to nghttp2 (by the package ngh2): the same requests and errors.

What they do otherwise is listed, with the reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from fakes.http2 import (
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Frame,
    Http2Client,
    data,
    frame,
    headers,
    headers_in_pieces,
    parse,
    ping,
    priority,
    raw_block,
    rst_stream,
    settings,
    window_update,
)
from fakes.worker import FakeWorker, respond

hypothesis = pytest.importorskip("hypothesis")
ngh2: Any = pytest.importorskip("ngh2")
pytest.importorskip("h2")
import h2.config  # noqa: E402
import h2.connection  # noqa: E402
import h2.events  # noqa: E402
import h2.exceptions  # noqa: E402

st = hypothesis.strategies
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
given: Callable[..., Decorator] = hypothesis.given
bounded: Decorator = hypothesis.settings(
    max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)

Fields = list[tuple[str, str]]
Pair = tuple[bytes, bytes]
MOST = 2**31 - 1


class Request(NamedTuple):
    method: bytes
    path: bytes
    fields: tuple[Pair, ...]


def request_of(pairs: Any) -> Request:
    """Return what an application is told of these fields: the host first, and one cookie (RFC 9113 section 8.2.3)."""
    pseudo, fields, cookies = {}, [], []
    for name, value in ((bytes(pair[0]), bytes(pair[1])) for pair in pairs):
        if name.startswith(b":"):
            pseudo[name] = value
        elif name == b"cookie":
            cookies.append(value)
            if len(cookies) == 1:
                fields.append((name, b""))
        elif name != b"host":
            fields.append((name, value))
    fields = [(name, b"; ".join(cookies) if name == b"cookie" else value) for name, value in fields]
    return Request(pseudo[b":method"], pseudo[b":path"], ((b"host", pseudo[b":authority"]), *fields))


class Seen:
    """What the application of a server has been told of each stream, whose number is in the path."""

    def __init__(self) -> None:
        self.requests: dict[int, Request] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def begin(self, request: Request) -> int:
        stream = int(request.path.rpartition(b"/")[2])
        self.requests[stream] = request
        self.bodies[stream] = b""
        return stream

    def facts(self, streams: set[int]) -> list[Any]:
        """Return what is known of these streams."""
        return [
            (stream, self.requests.get(stream), self.bodies.get(stream), stream in self.ended)
            for stream in sorted(streams)
        ]


class Ours:
    def __init__(self) -> None:
        self.seen = seen = Seen()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            path = scope["raw_path"]
            stream = seen.begin(Request(scope["method"].encode(), path, tuple(scope["headers"])))
            while (message := await receive())["type"] == "http.request":
                seen.bodies[stream] += message["body"]
                if not message["more_body"]:
                    seen.ended.add(stream)
                    if path.startswith(b"/done/"):
                        await respond(send, b"")

        self.wire = FakeWorker(app)
        self.client = Http2Client(self.wire, begin=False)

    def feed(self, octets: bytes) -> list[Frame]:
        return self.client.send(octets)

    def close(self) -> None:
        self.wire.close()
        assert not self.wire.errors


class ByH2:
    def __init__(self) -> None:
        self.seen = Seen()
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self.server.initiate_connection()

    def feed(self, octets: bytes) -> list[Frame]:
        events = []
        with contextlib.suppress(h2.exceptions.ProtocolError):
            events = self.server.receive_data(octets)
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                self.seen.begin(request_of(event.headers))
            elif isinstance(event, h2.events.DataReceived):
                self.seen.bodies[event.stream_id] += event.data
            elif isinstance(event, h2.events.StreamEnded):
                self.seen.ended.add(event.stream_id)
                if self.seen.requests[event.stream_id].path.startswith(b"/done/"):
                    self.server.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
        return parse(self.server.data_to_send())[0]

    def close(self) -> None:
        pass


class ByNghttp2:
    def __init__(self) -> None:
        self.seen = Seen()
        self.server = ngh2.Connection(ngh2.Role.SERVER)
        self.server.initiate_connection()

    def feed(self, octets: bytes) -> list[Frame]:
        with contextlib.suppress(ngh2.NGH2Error):
            self.server.receive_data(octets)
        for event in self.server.events():
            if isinstance(event, ngh2.RequestReceived):
                self.end(event.end_stream, self.seen.begin(request_of(event.headers)))
            elif isinstance(event, ngh2.DataReceived):
                self.seen.bodies[event.stream_id] += event.data
                self.end(event.end_stream, event.stream_id)
            elif isinstance(event, ngh2.TrailersReceived):
                self.end(True, event.stream_id)
        return parse(self.server.data_to_send())[0]

    def end(self, ended: bool, stream: int) -> None:
        if ended:
            self.seen.ended.add(stream)
            if self.seen.requests[stream].path.startswith(b"/done/"):
                self.server.send_response(stream, [(b":status", b"200")], end_stream=True)

    def close(self) -> None:
        pass


ORACLES: dict[str, Callable[[], ByH2 | ByNghttp2]] = {"h2": ByH2, "nghttp2": ByNghttp2}

Verdict = tuple[str, int]
ACCEPTED: Verdict = ("accepted", 0)


def verdict(frames: list[Frame]) -> Verdict:
    for each in frames:
        if each.type == GOAWAY:
            return "connection", int.from_bytes(each.payload[4:8], "big")
    for each in frames:
        if each.type == RST_STREAM:
            return "stream", each.number
    return ACCEPTED


class Client:
    """The streams of a client by their state; what it sends next is up to the table of steps."""

    def __init__(self) -> None:
        self.next = 1
        self.open: list[int] = []
        self.half_closed: list[int] = []
        self.completed: list[int] = []
        self.left: list[int] = []  # reset by the client

    def new(self) -> int:
        self.next += 2
        return self.next - 2

    def forget(self, stream: int) -> None:
        for each in (self.open, self.half_closed, self.completed, self.left):
            if stream in each:
                each.remove(stream)


def fields_of(stream: int, *more: tuple[str, str], method: str = "POST", done: bool = False) -> Fields:
    path = f"/{'done' if done else 'held'}/{stream}"
    return [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path), *more]


Step = Callable[[Client, int], bytes | None]


def opens(make: Callable[[int], bytes], *, end: bool) -> Step:
    """A request that keeps its stream open, or half closes it."""

    def step(client: Client, pick: int) -> bytes:
        stream = client.new()
        (client.half_closed if end else client.open).append(stream)
        return make(stream)

    return step


def whole(client: Client, pick: int) -> bytes:
    stream = client.new()
    client.completed.append(stream)
    return headers(stream, fields_of(stream, done=True))


def on(state: str, make: Callable[[int], bytes], to: str = "") -> Step:
    """Frames on a stream of that state, which it leaves for the other."""

    def step(client: Client, pick: int) -> bytes | None:
        streams: list[int] = getattr(client, state)
        if not streams:
            return None
        stream = streams[pick % len(streams)]
        if to:
            streams.remove(stream)
            getattr(client, to).append(stream)
        return make(stream)

    return step


def always(make: Callable[[int], bytes]) -> Step:
    """Frames that need no stream; they are told the next that the client would use."""
    return lambda client, pick: make(client.next)


def wrong(*more: tuple[str, str], drop: str = "", first: Fields | None = None) -> Step:
    """A request that is malformed."""

    def step(client: Client, pick: int) -> bytes:
        stream = client.new()
        fields = [pair for pair in fields_of(stream) if pair[0] != drop]
        return headers(stream, [*(first or []), *fields, *more])

    return step


def block(stream: int, more: bytes = b"", before: bytes = b"", flags: int = END_HEADERS | END_STREAM) -> bytes:
    return frame(HEADERS, flags, stream, before + raw_block(fields_of(stream)) + more)


VALID: dict[str, Step] = {
    "a request": opens(
        lambda s: headers(s, fields_of(s, ("x-a", "b"), ("cookie", "c=d"), ("cookie", "e=f"))), end=True
    ),
    "a request with a body": opens(lambda s: headers(s, fields_of(s), end=False), end=False),
    "a request that is answered": whole,
    "a request in pieces": opens(lambda s: headers_in_pieces(s, fields_of(s, ("x-a", "b" * 50)), [9, 0, 30]), end=True),
    "padding and priority": opens(
        lambda s: frame(HEADERS, 0x2D, s, b"\3\0\0\0\0\x10" + raw_block(fields_of(s)) + bytes(3)), end=True
    ),
    "te: trailers": opens(lambda s: headers(s, fields_of(s, ("te", "trailers"))), end=True),
    "content-length": opens(
        lambda s: headers(s, fields_of(s, ("content-length", "2")), end=False) + data(s, b"ab", end=True), end=True
    ),
    "another method": opens(lambda s: headers(s, fields_of(s, method="DELETE")), end=True),
    "a skipped number": lambda c, pick: headers(c.new() + 2, fields_of(c.new())),
    "DATA": on("open", lambda s: data(s, b"some")),
    "empty DATA": on("open", data),
    "padded DATA": on("open", lambda s: data(s, b"padded", pad=7)),
    "the last DATA": on("open", lambda s: data(s, b"last", end=True), "half_closed"),
    "the last DATA, empty": on("open", lambda s: data(s, end=True), "half_closed"),
    "trailers": on("open", lambda s: headers(s, [("x-checksum", "1")]), "half_closed"),
    "RST_STREAM, open": on("open", rst_stream, "left"),
    "RST_STREAM, half-closed": on("half_closed", rst_stream, "left"),
    "RST_STREAM, completed": on("completed", rst_stream),
    "WINDOW_UPDATE, open": on("open", lambda s: window_update(s, 10)),
    "WINDOW_UPDATE, half-closed": on("half_closed", lambda s: window_update(s, 10)),
    "WINDOW_UPDATE, completed": on("completed", lambda s: window_update(s, 10)),
    "WINDOW_UPDATE": always(lambda s: window_update(0, 10)),
    "SETTINGS": always(lambda s: settings((INITIAL_WINDOW_SIZE, 70000), (MAX_FRAME_SIZE, 20000), (0xFF, 1))),
    "PING": always(lambda s: ping()),
    "PING, acknowledged": always(lambda s: ping(ack=True)),
    "PRIORITY, idle": always(lambda s: priority(s + 20)),
    "PRIORITY, open": on("open", priority),
    "PRIORITY, completed": on("completed", priority),
    "unknown": always(lambda s: frame(0xBB, 0x55, s, b"unknown")),
}

FAULTS: dict[str, Step] = {
    "upper case": wrong(("X-A", "b")),
    "empty name": wrong(("", "b")),
    "space in a name": wrong(("x a", "b")),
    "line end in a value": wrong(("x-a", "b\r\nc: d")),
    "NUL in a value": wrong(("x-a", "b\0")),
    "space before a value": wrong(("x-a", " b")),
    "unknown pseudo-header": wrong(first=[(":x", "y")]),
    ":status": wrong(first=[(":status", "200")]),
    "pseudo-header after a field": wrong(first=[("x-a", "b")]),
    "two :path": wrong(first=[(":path", "/held/1")]),
    "two :method": wrong(first=[(":method", "POST")]),
    "no :path": wrong(drop=":path"),
    "no :method": wrong(drop=":method"),
    "no :scheme": wrong(drop=":scheme"),
    "connection": wrong(("connection", "close")),
    "keep-alive": wrong(("keep-alive", "1")),
    "transfer-encoding": wrong(("transfer-encoding", "chunked")),
    "upgrade": wrong(("upgrade", "h2c")),
    "te": wrong(("te", "gzip")),
    "content-length without a body": wrong(("content-length", "5")),
    "content-length that is no number": wrong(("content-length", "a")),
    "two different content-length": wrong(("content-length", "0"), ("content-length", "1")),
    "less than content-length": lambda c, pick: (
        headers(c.next, fields_of(c.next, ("content-length", "5")), end=False) + data(c.new(), b"ab", end=True)
    ),
    "more than content-length": lambda c, pick: (
        headers(c.next, fields_of(c.next, ("content-length", "1")), end=False) + data(c.new(), b"ab")
    ),
    "trailers that do not end the stream": on("open", lambda s: headers(s, [("x-a", "b")], end=False)),
    "pseudo-header in trailers": on("open", lambda s: headers(s, [(":path", "/")])),
    "upper case in trailers": on("open", lambda s: headers(s, [("X-A", "b")])),
    "HEADERS that depend on themselves": opens(lambda s: block(s, b"", s.to_bytes(4, "big") + b"\0", 0x25), end=True),
    "PRIORITY that depends on itself": always(lambda s: priority(s, s)),
    "even": always(lambda s: headers(s + 1, fields_of(s + 1))),
    "lower": lambda c, pick: b"".join(headers(s, fields_of(s)) for s in reversed((c.new(), c.new()))),
    "DATA, idle": always(lambda s: data(s, b"x")),
    "RST_STREAM, idle": always(rst_stream),
    "WINDOW_UPDATE, idle": always(lambda s: window_update(s, 1)),
    "CONTINUATION, idle": always(lambda s: frame(CONTINUATION, END_HEADERS, s, b"")),
    "DATA, half-closed": on("half_closed", lambda s: data(s, b"x")),
    "HEADERS, half-closed": on("half_closed", lambda s: headers(s, [("x-a", "b")])),
    "CONTINUATION, half-closed": on("half_closed", lambda s: frame(CONTINUATION, END_HEADERS, s)),
    "DATA, completed": on("completed", lambda s: data(s, b"x")),
    "HEADERS, completed": on("completed", lambda s: headers(s, fields_of(s))),
    "DATA, left": on("left", lambda s: data(s, b"x")),
    "HEADERS, left": on("left", lambda s: headers(s, fields_of(s))),
    "WINDOW_UPDATE, left": on("left", lambda s: window_update(s, 1)),
    "RST_STREAM, left": on("left", rst_stream),
    "DATA on 0": always(lambda s: data(0, b"x")),
    "HEADERS on 0": always(lambda s: headers(0)),
    "PRIORITY on 0": always(lambda s: priority(0, s)),
    "RST_STREAM on 0": always(lambda s: rst_stream(0)),
    "SETTINGS on a stream": always(lambda s: frame(SETTINGS, 0, s)),
    "PING on a stream": always(lambda s: frame(PING, 0, s, bytes(8))),
    "GOAWAY on a stream": always(lambda s: frame(GOAWAY, 0, s, bytes(8))),
    "PUSH_PROMISE": on("open", lambda s: frame(PUSH_PROMISE, END_HEADERS, s, b"\0\0\0\2" + raw_block(fields_of(2)))),
    "frame within a block": always(lambda s: block(s, flags=END_STREAM) + ping()),
    "unknown within a block": always(lambda s: block(s, flags=END_STREAM) + frame(0xBB, 0, 0)),
    "CONTINUATION of another": always(lambda s: block(s, flags=END_STREAM) + frame(CONTINUATION, 4, s + 2)),
    "DATA over the maximum": on("open", lambda s: data(s, bytes(16385))),
    "SETTINGS of 5 bytes": always(lambda s: frame(SETTINGS, 0, 0, bytes(5))),
    "SETTINGS, ACK with payload": always(lambda s: frame(SETTINGS, 1, 0, bytes(6))),
    "PING of 7 bytes": always(lambda s: frame(PING, 0, 0, bytes(7))),
    "RST_STREAM of 3 bytes": on("open", lambda s: frame(RST_STREAM, 0, s, bytes(3))),
    "WINDOW_UPDATE of 5 bytes": always(lambda s: frame(WINDOW_UPDATE, 0, 0, bytes(5))),
    "PRIORITY of 4 bytes": on("open", lambda s: frame(PRIORITY, 0, s, bytes(4))),
    "GOAWAY of 7 bytes": always(lambda s: frame(GOAWAY, 0, 0, bytes(7))),
    "HEADERS too short": always(lambda s: frame(HEADERS, END_HEADERS | WITH_PRIORITY, s, bytes(4))),
    "DATA, too much padding": on("open", lambda s: frame(DATA, PADDED, s, b"\5abcd")),
    "HEADERS, too much padding": always(lambda s: frame(HEADERS, END_HEADERS | PADDED, s, b"\5abcd")),
    "ENABLE_PUSH 2": always(lambda s: settings((ENABLE_PUSH, 2))),
    "INITIAL_WINDOW_SIZE 2**31": always(lambda s: settings((INITIAL_WINDOW_SIZE, 2**31))),
    "MAX_FRAME_SIZE 16383": always(lambda s: settings((MAX_FRAME_SIZE, 16383))),
    "MAX_FRAME_SIZE 2**24": always(lambda s: settings((MAX_FRAME_SIZE, 2**24))),
    "increment 0": always(lambda s: window_update(0, 0)),
    "increment 0, open": on("open", lambda s: window_update(s, 0)),
    "window over the maximum": always(lambda s: window_update(0, MOST)),
    "window over the maximum, open": on("open", lambda s: window_update(s, MOST)),
    "block that is cut off": always(lambda s: block(s, b"\x40\5abc")),
    "index beyond the table": always(lambda s: block(s, b"\xff\x80\x01")),
    "index 0": always(lambda s: block(s, b"\x80")),
    "EOS in Huffman code": always(lambda s: block(s, b"\0\x01a\x84\xff\xff\xff\xff")),
    "table size over the maximum": always(lambda s: block(s, b"", b"\x3f\xe2\x1f")),
    "table size in the middle": always(lambda s: block(s, b"\x20\0\1a\1b")),
}

STEPS = {**VALID, **FAULTS}
# Late, which section 5.1 lets both sides be.
ACCEPTABLE = {*VALID, "WINDOW_UPDATE, left", "RST_STREAM, left"}


def differ(theirs: Verdict, why: str, ours: Verdict, *names: str) -> dict[str, tuple[Verdict, Verdict, str]]:
    return dict.fromkeys(names, (ours, theirs, why))


# What each oracle does otherwise.
DIFFERENCES: dict[str, dict[str, tuple[Verdict, Verdict, str]]] = {
    "h2": {
        **differ(
            ("connection", PROTOCOL_ERROR),
            "it ends the connection where sections 5.3.1 (RFC 7540), 6.9 and 8.1.1 ask for a stream error",
            ("stream", PROTOCOL_ERROR),
            *("upper case", "empty name", "space in a name", "line end in a value", "NUL in a value"),
            *("space before a value", "unknown pseudo-header", ":status", "pseudo-header after a field"),
            *("two :path", "two :method", "no :path", "no :method", "no :scheme"),
            *("connection", "keep-alive", "transfer-encoding", "upgrade", "te"),
            *("content-length that is no number", "two different content-length"),
            *("less than content-length", "more than content-length"),
            *("trailers that do not end the stream", "pseudo-header in trailers", "upper case in trailers"),
            *("HEADERS that depend on themselves", "increment 0, open"),
        ),
        **differ(
            ("connection", PROTOCOL_ERROR),
            "it has one code for all that hpack refuses, and section 4.3 names another",
            ("connection", COMPRESSION_ERROR),
            *("block that is cut off", "index beyond the table", "index 0", "EOS in Huffman code"),
            *("table size over the maximum", "table size in the middle"),
        ),
        **differ(
            ("connection", PROTOCOL_ERROR),
            "section 6.5 names another code",
            ("connection", FRAME_SIZE_ERROR),
            "SETTINGS, ACK with payload",
        ),
        **differ(
            ACCEPTED,
            "it compares the length with DATA frames only, of which there is none",
            ("stream", PROTOCOL_ERROR),
            "content-length without a body",
        ),
        **differ(ACCEPTED, "section 5.1 refuses it", ("connection", PROTOCOL_ERROR), "RST_STREAM, idle"),
    },
    "nghttp2": {
        **differ(
            ("connection", PROTOCOL_ERROR),
            "it ends the connection where section 5.3.1 of RFC 7540 and section 6.9 ask for a stream error",
            ("stream", PROTOCOL_ERROR),
            *("HEADERS that depend on themselves", "increment 0, open"),
        ),
        **differ(
            ACCEPTED,
            "it knows no priorities of RFC 7540 any more, and section 6.3 still refuses stream 0",
            ("connection", PROTOCOL_ERROR),
            *("PRIORITY that depends on itself", "PRIORITY on 0"),
        ),
        **differ(
            ("connection", STREAM_CLOSED),
            "it ends the connection where section 5.1 asks for a stream error",
            ("stream", STREAM_CLOSED),
            *("DATA, half-closed", "HEADERS, half-closed"),
        ),
        **differ(
            ACCEPTED,
            "it forgets closed streams at once, and ignores what comes for them",
            ("stream", STREAM_CLOSED),
            *("DATA, completed", "DATA, left", "HEADERS, left"),
        ),
        **differ(
            ACCEPTED,
            "it forgets closed streams at once, and ignores what comes for them",
            ("connection", STREAM_CLOSED),
            "HEADERS, completed",
        ),
        **differ(
            ("connection", FLOW_CONTROL_ERROR),
            "it ends the connection where section 6.9.1 leaves that open",
            ("stream", FLOW_CONTROL_ERROR),
            "window over the maximum, open",
        ),
        **differ(ACCEPTED, "it ignores HEADERS that section 5.1.1 refuses", ("connection", PROTOCOL_ERROR), "lower"),
    },
}

SOMETIMES = {"RST_STREAM, idle"}  # h2 refuses it as long as there was no stream


class Beside:
    """Ours, and an oracle beside it."""

    def __init__(self, oracle: str) -> None:
        self.differences = DIFFERENCES[oracle]
        self.client = Client()
        self.ours, self.theirs = Ours(), ORACLES[oracle]()
        self.known: set[int] = set()  # streams that are of the same state on both sides
        self.over = False
        for each in (self.ours, self.theirs):
            each.feed(PREFACE + settings())
            each.feed(settings(ack=True))

    def step(self, name: str, pick: int = 0) -> Verdict | None:
        """Return what ours says, or None if there is no stream for this step. Fails where they differ otherwise."""
        octets = STEPS[name](self.client, pick)
        if octets is None:
            return None
        ours, theirs = verdict(self.ours.feed(octets)), verdict(self.theirs.feed(octets))
        if ours != theirs or name in self.differences.keys() - SOMETIMES:
            assert self.differences.get(name, ())[:2] == (ours, theirs), name
        self.over = "connection" in (ours[0], theirs[0])
        stream = int.from_bytes(octets[5:9], "big")
        if (ours, theirs) != (ACCEPTED, ACCEPTED):
            self.client.forget(stream)
            self.known.discard(stream)
        elif stream in self.theirs.seen.requests:
            self.known.add(stream)
        if not self.over:
            assert self.ours.seen.facts(self.known) == self.theirs.seen.facts(self.known), name
        return ours


@pytest.fixture(params=ORACLES)
def beside(request: pytest.FixtureRequest) -> Iterator[Beside]:
    both = Beside(request.param)
    yield both
    both.ours.close()


@pytest.mark.parametrize("name", STEPS)
def test_each(name: str, beside: Beside) -> None:
    """A step alone, with streams in each state."""
    for each in ("a request", "a request with a body", "a request that is answered"):
        assert beside.step(each) == ACCEPTED
    assert beside.step("a request with a body") == beside.step("RST_STREAM, open", 1) == ACCEPTED
    assert (beside.step(name) == ACCEPTED) == (name in ACCEPTABLE)
    assert beside.over or beside.known


steps = st.lists(
    st.tuples(st.one_of(st.sampled_from(sorted(VALID)), st.sampled_from(sorted(STEPS))), st.integers(0, 7)), max_size=30
)


@pytest.mark.parametrize("oracle", ORACLES)
@bounded
@given(steps)
def test_sequences(oracle: str, steps: list[tuple[str, int]]) -> None:
    """Up to the first error of the connection."""
    beside = Beside(oracle)
    try:
        for name, pick in steps:
            beside.step(name, pick)
            if beside.over:
                break
    finally:
        beside.ours.close()
