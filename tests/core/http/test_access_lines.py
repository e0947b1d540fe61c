"""When access lines of any format are written, and which: streams, failures, WebSockets, HTTP/2, samples, slow ones."""

from __future__ import annotations

import json
import logging
import re
import struct
from typing import Any

import pytest
from core.access import TRACE, Log
from core.hpack import string
from fakes.http2 import Http2Client, data, headers
from fakes.worker import FakeWorker, Peer, chunked, get, hello, post, respond

from fastserve._core.http.proxies import Proxies
from fastserve.logging.access_format import PRESETS
from fastserve.middleware.proxy_headers import TrustedHosts, scheme_of

JSON = list(PRESETS)


async def stream(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    assert (await receive())["type"] == "http.request"
    if (await receive())["type"] == "http.disconnect":
        raise OSError
    await send({"type": "http.response.body", "body": b"two"})


@pytest.mark.parametrize(("form", "early"), [("default", True), ("%(h)s %(s)s", True), ("%(s)s %(D)s", False)])
def test_written_at_the_start_unless_the_end_is_in_it(log: Log, form: str, early: bool) -> None:
    peer = log.wire(form, stream).connect()
    peer.feed(get("/", "Content-Length: 1", method="POST"))
    assert len(log.take()) == early
    peer.lose()
    assert len(log.take()) == (not early)


@pytest.mark.parametrize("form", ["%(X)s %(s)s %(B)s", "json"])
def test_aborted(log: Log, form: str) -> None:
    peer = log.wire(form, stream).connect()
    peer.feed(get())
    peer.lose()
    (line,) = log.take()
    if form == "json":
        values = json.loads(line)
        assert (values["aborted"], values["status"]) == (True, 200)
    else:
        assert line == "X 200 3"


def test_aborted_before_the_response(log: Log) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    peer = log.wire("%(X)s %(s)s %(st)s %(fb)s", app).connect()
    peer.feed(get())
    peer.lose()
    assert log.take() == ["X - - -"]


def test_kept_and_closed(log: Log) -> None:
    wire = log.wire("%(X)s %(s)s")
    wire.connect().feed(get())
    wire.connect().feed(get("/", "Connection: close"))
    assert log.take() == ["+ 200", "- 200"]


def test_failures_of_the_application(log: Log) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise ValueError

    wire = log.wire("%(U)s %(s)s %(X)s %(B)s", app)
    for path in ("/early", "/late"):
        wire.connect().feed(get(path))
    assert log.take() == ["/early 500 - 21", "/late 200 X 1"]


def test_refused_requests(log: Log) -> None:
    wire = log.wire("%(U)s %(s)s", limit_concurrency=1)
    wire.connect()
    wire.connect().feed(get("/x"))
    assert log.take() == ["/x 503"]


# Bytes


async def echo(scope: Any, receive: Any, send: Any) -> None:
    more = True
    while more:
        more = (await receive())["more_body"]
    headers = [(b"content-length", b"10")] if scope["path"] == "/sized" else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"12345", "more_body": True})
    await send({"type": "http.response.body", "body": b"67890"})


def test_bytes_are_those_of_the_wire(log: Log) -> None:
    wire = log.wire("%(I)s %(O)s %(B)s", echo)
    peer = wire.connect()
    for request in (get(), get("/sized"), post(b"x" * 100), chunked([b"x" * 100, b"y"]), get(method="HEAD")):
        sent = peer.feed(request)
        body = 0 if request.startswith(b"HEAD") else 10
        assert log.take() == [f"{len(request)} {len(sent)} {body}"]
    sent = peer.feed(get("/a") + get("/bcd"))
    first, second = (line.split() for line in log.take())
    assert (int(first[0]), int(second[0])) == (len(get("/a")), len(get("/bcd")))
    assert int(first[1]) + int(second[1]) == len(sent)


def test_bytes_of_a_request_in_pieces(log: Log) -> None:
    request = chunked([b"x" * 100, b"y" * 50])
    peer = log.wire("%(I)s", echo).connect()
    for at in range(0, len(request), 7):
        peer.feed(request[at : at + 7])
    assert log.take() == [str(len(request))]


# WebSockets


def frame(payload: bytes, opcode: int = 1) -> bytes:
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


async def websocket(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] == "/denied":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        for _ in range(2):
            await send({"type": "websocket.send", "text": message["text"]})


def handshake(path: str = "/") -> bytes:
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    return get(path, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key)


def talk(wire: FakeWorker, last: bytes) -> tuple[Peer, int, int]:
    """Return the client of a WebSocket with two messages, and the bytes both ways."""
    peer = wire.connect()
    pieces = [handshake("/chat?a=b"), frame(b"one"), frame(b"two"), last]
    return peer, sum(map(len, pieces)), sum(len(peer.feed(piece)) for piece in pieces if piece)


def test_one_line_a_websocket(log: Log) -> None:
    wire = log.wire("json", websocket)
    _, received, sent = talk(wire, frame(struct.pack(">H", 1001), 8))
    (line,) = log.take()
    values = json.loads(line)
    assert values["method"] == "GET" and values["path"] == "/chat" and values["scheme"] == "ws"
    assert (values["status"], values["messages_in"], values["messages_out"]) == (101, 2, 4)
    assert values["close_code"] == 1001 and "aborted" not in values
    assert (values["bytes_in"], values["bytes_out"]) == (received, sent)


def test_websocket_over_http2(log: Log) -> None:
    """It is a stream of its connection, and has a line of its own."""
    client = Http2Client(log.wire("json", websocket, request_id_field=b"x-request-id"))
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat")]
    fields += [(":authority", "a"), ("sec-websocket-version", "13")]
    client.send(headers(1, fields, end=False))
    pieces = [frame(b"one"), frame(b"two"), frame(struct.pack(">H", 1001), 8)]
    for piece in pieces:
        client.send(data(1, piece))
    client.hear()
    (line,) = log.take()
    values = json.loads(line)
    reply = client.replies[1]
    assert [value for name, value in reply.heads[0] if name == "x-request-id"] == [values["request_id"]]
    assert values["http"] == "2" and values["path"] == "/chat" and values["scheme"] == "ws"
    assert (values["status"], values["messages_in"], values["messages_out"]) == (200, 2, 4)
    assert values["close_code"] == 1001 and "aborted" not in values
    assert values["bytes_in"] >= sum(map(len, pieces))
    assert values["bytes_out"] > len(reply.body) + 9  # the head, in a frame of its own, is of the response


def test_websocket_that_breaks(log: Log) -> None:
    peer, _, _ = talk(log.wire("%(X)s %(s)s %(mi)s %(mo)s %(code)s", websocket), b"")
    assert log.take() == []
    peer.lose()
    assert log.take() == ["X 101 2 4 1006"]


def test_denied_websocket(log: Log) -> None:
    wire = log.wire("%(U)s %(s)s %(D)s", websocket)
    wire.connect().feed(handshake("/denied"))
    (line,) = log.take()
    assert line.startswith("/denied 403 ")


# Lines like earlier ones

TIMES = re.compile(r'(time|timestamp|duration|wait|latency)":("[^"]*"|[0-9.]+)')
ALIKE = (
    get("/"),
    get("/a?b=c", "User-Agent: x", "Referer: y"),
    get("/a?b=", "User-Agent: x", "Referer: "),
    get("/404", "User-Agent: x"),
    get("/", 'User-Agent: "'),
    get(f"/{'p' * 3000}?{'q' * 3000}", "User-Agent: " + '"' * 300, "Referer: " + '"' * 300),
    get("/", f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01"),
    get("/", version="1.0"),
    post(b"body", path="/"),
    get("/", method="PUT"),
)


@pytest.mark.parametrize("form", JSON)
def test_a_line_like_an_earlier_one_is_what_it_would_be_as_the_first(log: Log, form: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        status = 404 if scope["path"] == "/404" else 200
        scope["scheme"] = "https" if scope["query_string"] else "http"
        await respond(send, status=status)

    first = [TIMES.sub("", log.one(form, request, app)) for request in ALIKE]
    assert len({*first}) == len(ALIKE)
    wire = log.wire(form, app)
    for request in [*ALIKE, *(each for each in ALIKE for _ in range(3)), *ALIKE]:
        wire.connect().feed(request)
    lines = [TIMES.sub("", line) for line in log.take()]
    assert lines == [*first, *(each for each in first for _ in range(3)), *first]


# What is left out


def test_skip(log: Log) -> None:
    wire = log.wire("%(U)s %(s)s", skip=("/health", "/static/*"))
    for path in ("/health", "/health/x", "/static/", "/static/a.css", "/static", "/"):
        wire.connect().feed(get(path))
    assert log.take() == ["/health/x 200", "/static 200", "/ 200"]


@pytest.mark.parametrize("form", ["default", "%(U)s %(s)s", "json"])
def test_failures_are_never_left_out(log: Log, form: str) -> None:
    wire = log.wire(form, hello(status=404), skip=("/health",), sample=0)
    wire.connect().feed(get("/health"))
    assert len(log.take()) == 1
    wire = log.wire(form, skip=("/health",), sample=0)
    wire.connect().feed(get("/health") + get("/"))
    assert log.take() == []


@pytest.mark.parametrize("form", ["default", "json"])
def test_sample(log: Log, form: str) -> None:
    wire = log.wire(form, sample=0.25)
    wire.connect().feed(get() * 2000)
    assert 350 < len(log.take()) < 650  # seven standard deviations


def test_sample_by_id_is_the_same_everywhere(log: Log) -> None:
    kept = []
    settings = {"request_id_field": b"x-request-id", "proxies": Proxies(TrustedHosts("*"), scheme_of)}
    for form in ("%(rid)s", "%(rid)s %(D)s"):
        peer = log.wire(form, sample=0.5, **settings).connect()
        for number in range(400):
            peer.feed(get("/", f"X-Request-Id: {number}"))
        kept.append([line.split()[0] for line in log.take()])
    assert kept[0] == kept[1]
    assert 130 < len(kept[0]) < 270


# Ids


def test_ids_are_made(log: Log) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"]["request_id"])
        await respond(send)

    wire = log.wire("%(rid)s", app, request_id_field=b"x-request-id")
    responses = [wire.connect().feed(get("/", "X-Request-Id: mine")) for _ in range(3)]
    lines = log.take()
    assert lines == seen and len(set(lines)) == 3
    for response, line in zip(responses, lines, strict=True):
        assert re.fullmatch("[0-9a-f]{32}", line)
        assert response.count(b"x-request-id: " + line.encode() + b"\r\n") == 1


@pytest.mark.parametrize(
    ("given", "taken"),
    [("a-B_1.:+/=@", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ('"', False), ("\xe9", False)],
)
def test_ids_of_trusted_proxies(log: Log, given: str, taken: bool) -> None:
    proxies = Proxies(TrustedHosts("10.0.0.1"), scheme_of)
    line = log.one("%(rid)s", get("/", f"X-Request-Id: {given}"), request_id_field=b"x-request-id", proxies=proxies)
    assert (line == given) is taken
    assert taken or len(line) == 32


def test_id_that_the_application_sends_stands(log: Log) -> None:
    wire = log.wire("%(rid)s", hello(headers=[("X-Request-ID", "own")]), request_id_field=b"x-request-id")  # type: ignore[list-item]
    response = wire.connect().feed(get())
    assert response.lower().count(b"x-request-id: ") == 1
    assert b": own\r\n" in response


def test_ids_of_responses_of_the_server(log: Log) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    response = log.wire("%(rid)s", app, request_id_field=b"x-request-id").connect().feed(get())
    assert b"x-request-id: " + log.take()[0].encode() in response


def test_id_of_a_websocket(log: Log) -> None:
    wire = log.wire("%(rid)s %(mi)s", websocket, request_id_field=b"x-request-id")
    peer = wire.connect()
    response = peer.feed(handshake())
    peer.lose()
    assert b"x-request-id: " + log.take()[0].split()[0].encode() + b"\r\n" in response


# Slow requests


@pytest.mark.parametrize("form", ["default", "json"])
def test_slow(log: Log, form: str) -> None:
    """Reported when the limit passes and at the end; the line is kept, whatever is left out."""
    wire = log.wire(form, stream, skip=("/*",), log_slow=5)
    peer = wire.connect()
    peer.feed(get("/", "Content-Length: 1", method="POST"))
    wire.advance(4)
    assert log.slow == []
    wire.advance(2)
    assert log.slow == [(False, 200)]
    assert log.take() == []
    peer.lose()
    assert log.slow == [(False, 200), (True, 200)]
    assert len(log.take()) == 1


def test_quick_and_endless_ones_are_not_slow(log: Log) -> None:
    async def events(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            return await websocket(scope, receive, send)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await receive()
        await receive()
        return None

    wire = log.wire("json", log_slow=5)
    wire.connect().feed(get())
    wire.advance(6)
    wire = log.wire("json", events, log_slow=5)
    peers = [wire.connect(), wire.connect()]
    peers[0].feed(get())
    peers[1].feed(handshake())
    wire.advance(6)
    for peer in peers:
        peer.lose()
    assert log.slow == []


# Records


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.mark.parametrize(("form", "late"), [("default", False), ("json", True)])
def test_records_of_foreign_handlers(log: Log, form: str, late: bool) -> None:
    """They have uvicorn's five arguments in every format, and what is known besides in `extra`."""
    wire = log.wire(form, request_id_field=b"x-request-id")
    handler = Records()
    log.logger.addHandler(handler)
    wire.connect().feed(get("/a?b"))
    (record,) = handler.records
    assert record.args == ("10.0.0.1:1234", "GET", "/a?b", "1.1", 200)
    assert re.fullmatch("[0-9a-f]{32}", record.request_id)
    assert hasattr(record, "duration") is late
    if late:
        assert (record.bytes, record.aborted) == (5, False)
        assert 0 <= record.duration < 60


# HTTP/2


def field(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def frame2(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def frames_of(data: bytes, stream: int) -> int:
    """Return how many bytes the frames of a stream have."""
    total = at = 0
    while at < len(data):
        size = 9 + int.from_bytes(data[at : at + 3], "big")
        (number,) = struct.unpack_from(">I", data, at + 5)
        total += size if number == stream and data[at + 3] in (0, 1) else 0
        at += size
    return total


def test_http2(log: Log) -> None:
    """Each stream has its line, with its own frames, and the id in its response."""
    wire = log.wire("%(U)s %(H)s %(s)s %(I)s %(O)s %(B)s %(X)s %(rid)s", echo, request_id_field=b"x-request-id")
    peer = wire.connect()
    peer.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame2(4, 0, 0, b""))
    pairs = {":method": "POST", ":scheme": "http", ":path": "/x", ":authority": "h"}
    block = b"".join(b"\0" + field(name) + field(value) for name, value in pairs.items())
    head, body = frame2(1, 4, 1, block), frame2(0, 1, 1, b"b" * 100)
    written = peer.feed(head + body)
    (line,) = log.take()
    *values, request_id = line.split()
    assert values == ["/x", "HTTP/2", "200", str(len(head) + 100), str(frames_of(written, 1)), "10", "+"]
    assert string(request_id.encode(), huffman=True) in written
    peer.feed(frame2(1, 4, 3, block))
    assert log.take() == []
    peer.feed(frame2(3, 0, 3, b"\0\0\0\x08"))  # the client resets it
    assert log.take()[0].split()[:3] + log.take() == ["/x", "HTTP/2", "-"]
