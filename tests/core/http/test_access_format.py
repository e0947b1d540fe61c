"""Lines of other formats than the default one: their values, their limits, and when they are written."""

from __future__ import annotations

import io
import json
import logging
import re
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core.hpack import string
from fakes.http2 import Http2Client, data, headers
from fakes.worker import FakeWorker, Peer, chunked, get, hello, post, respond

from fastserve._core.http.access_format import AccessFormat
from fastserve._core.http.access_log import AccessLog
from fastserve._core.http.access_steps import CODE, Step
from fastserve._core.http.proxies import Proxies
from fastserve.logging.access_format import ATOMS, PRESETS, compiled
from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter
from fastserve.middleware.proxy_headers import TrustedHosts, scheme_of

Work = Callable[..., FakeWorker]
JSON = list(PRESETS)


class Log:
    """A worker with an access log, whose lines it gives."""

    def __init__(self, work: Work, name: str) -> None:
        self.work = work
        self.stream = io.StringIO()
        self.logger = logging.getLogger(name)
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)
        self.slow: list[tuple[bool, int]] = []

    def wire(
        self, form: str | AccessFormat, app: Any = None, skip: Any = (), sample: float = 1, **settings: Any
    ) -> FakeWorker:
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(AccessFormatter(ACCESS_FORMAT, use_colors=False))
        self.logger.handlers = [handler]  # pytest has added its own to a logger that does not propagate
        made = compiled(form) if isinstance(form, str) else form
        access = AccessLog(self.logger, AccessFormatter, ACCESS_FORMAT, made, skip, sample)
        slow = (lambda account: self.slow.append((account.over, account.status))) if "log_slow" in settings else None
        return self.work(app or hello(), access=access, slow=slow, **settings)

    def take(self) -> list[str]:
        """Return the lines since the last call."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        assert text == "" or text.endswith("\n")
        return text.splitlines()

    def one(self, form: str, request: bytes, app: Any = None, **settings: Any) -> str:
        """Return the line of a request."""
        self.wire(form, app, **settings).connect().feed(request)
        (line,) = self.take()
        return line


@pytest.fixture
def log(work: Work, request: pytest.FixtureRequest) -> Iterator[Log]:
    log = Log(work, f"access.{request.node.name}")
    yield log
    log.logger.handlers.clear()


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, each in value.items():
        out |= flat(each, f"{prefix}{name}.") if isinstance(each, dict) else {prefix + name: each}
    return out


def test_a_format_of_constants_alone_keeps_nothing_of_a_line(log: Log) -> None:
    steps: list[Step] = [(CODE["LITERAL"], b"{", b"", None, 0, 0), (CODE["CONSTANT"], b'"a":1', b"", None, 0, 0)]
    steps.append((CODE["LITERAL"], b"}", b"", None, 0, 0))
    wire = log.wire(AccessFormat(steps, True))
    peer = wire.connect()
    tracemalloc.start()
    try:
        for _ in range(5):
            peer.feed(get())
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(500):
            peer.feed(get())
            assert log.take()[-1] == '{"a":1}'
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000  # 170 bytes a line if its shape were made anew


# Values


VALUES = [
    ("%(h)s %(l)s %(u)s", "10.0.0.1 - -"),
    ("%(addr)s|%(m)s|%(method)s", "10.0.0.1|GET|GET"),
    ("%(r)s", "GET /a%20b?c=d HTTP/1.1"),
    ("%(R)s|%(Uq)s|%(U)s|%(path)s|%(q)s|%(query_string)s", "GET /a%20b?c=d HTTP/1.1|/a%20b?c=d|/a b|/a%20b|c=d|c=d"),
    ("%(s)s %(st)s %(status)d %(H)s %(protocol)s %(S)s %(scheme)s", "200 OK 200 HTTP/1.1 HTTP/1.1 http http"),
    ("%(b)s %(B)s %(rbl)s", "5 5 5"),
    ("%(f)s %(a)s", "- agent"),
    ("%({x-a}i)s %({X-A}i)s %(header{x-a})s %({nothing}i)s", "b b b -"),
    ("%({x-out}o)s %({X-Out}o)s %({server}o)s", "1 1 -"),
    ("%(X)s %(rid)s %(tid)s %(route)s %(mi)s %(mo)s %(code)s", "+ - - - - - -"),
    ("100%% %(s)s %%", "100% 200 %"),
    ("%({x-b}i)s %(header{x-b})s %(a)s", "2 2 agent"),
]


@pytest.mark.parametrize(("form", "line"), VALUES)
def test_values(log: Log, form: str, line: str) -> None:
    request = get("/a%20b?c=d", "User-Agent: first", "User-Agent: agent", "X-A: b", "X-B: 1", "X-B: 2")
    assert log.one(form, request, hello(headers=[(b"X-Out", b"1")])) == line


def test_every_atom_has_a_value(log: Log) -> None:
    """No atom ends in an error, with and without what it is about."""
    form = " ".join(f"%({name})s" for name in ATOMS)
    assert len(log.one(form, get()).split(" ")) >= len(ATOMS)


def test_user_of_basic_authentication(log: Log) -> None:
    def user(value: str) -> str:
        return log.one("%(u)s", get("/", f"Authorization: {value}"))

    assert user("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") == "Aladdin"
    assert user("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") == "Aladdin"
    assert user("Basic YSJiOmM=") == "a\\x22b"
    assert {user(each) for each in ("Basic", "Basic ===", "Basic QQ==", "Bearer x", "Basic OmE=")} == {"-"}


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("value", "trace"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-more", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", "-"),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", "-"),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", "-"),
        (f"00-{TRACE}", "-"),
        (f"00-{TRACE}-00f067aa0ba902b7-0100", "-"),
    ],
)
def test_traceparent(log: Log, value: str, trace: str) -> None:
    assert log.one("%(tid)s", get("/", f"traceparent: {value}")) == trace


class Route:
    path = "/items/{id}"


@pytest.mark.parametrize(
    ("changes", "route"),
    [
        ({"route": Route()}, "/items/{id}"),
        ({"route": Route(), "root_path": "/v1"}, "/v1/items/{id}"),
        ({"path_template": "/x/{y}"}, "/x/{y}"),
        ({"route": object()}, "-"),
    ],
)
def test_route(log: Log, changes: dict[str, Any], route: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope.update(changes)
        await respond(send)

    assert log.one("%(route)s", get(), app) == route


@pytest.mark.parametrize("name", JSON)
def test_fields(log: Log, name: str) -> None:
    """Every field of a preset that such a request has is there, and its line is one object."""
    request = get("/a%20b?c=d", "User-Agent: agent", "Referer: r", f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01")
    values = flat(json.loads(log.one(name, request, request_id_field=b"x-request-id")))
    wanted = {
        "json": {"client": "10.0.0.1", "path": "/a%20b", "query": "c=d", "status": 200, "host": "x", "referer": "r"},
        "json:ecs": {"client.ip": "10.0.0.1", "url.path": "/a%20b", "url.query": "c=d", "trace.id": TRACE,
                     "http.response.status_code": 200, "user_agent.original": "agent", "log.level": "info"},
        "json:gcp": {"httpRequest.requestUrl": "http://x/a%20b?c=d", "httpRequest.status": 200, "severity": "INFO",
                     "httpRequest.remoteIp": "10.0.0.1", "logging.googleapis.com/trace": TRACE},
        "json:datadog": {"http.url_details.path": "/a%20b", "http.status_code": 200, "network.client.ip": "10.0.0.1",
                         "network.client.port": 1234, "http.useragent": "agent", "status": "info"},
    }[name]  # fmt: skip
    assert wanted.items() <= values.items()
    assert len(next(value for key, value in values.items() if key.endswith(("request_id", "request.id")))) == 32
    absent = ("messages", "close_code", "aborted", "route")
    assert not [key for key in values if key.rpartition(".")[2].startswith(absent)]
    # What nobody sent is left out.
    bare = flat(json.loads(log.one(name, get())))
    assert values.keys() - bare.keys() >= {key for key in wanted if key.endswith(("trace", "trace.id", "query"))}


def test_durations_have_the_units_of_the_platforms(log: Log) -> None:
    seconds = json.loads(log.one("json", get()))["duration"]
    assert isinstance(seconds, float) and seconds < 60
    for name, key in (("json:ecs", "event.duration"), ("json:datadog", "duration")):
        assert isinstance(json.loads(log.one(name, get()))[key], int)
    assert re.fullmatch(r"\d+\.\d{6}s", json.loads(log.one("json:gcp", get()))["httpRequest"]["latency"])


def test_times_agree(log: Log) -> None:
    line = log.one("%(T)s %(M)s %(D)s %(L)s %(dt_ms)s %(dt_ms).1f %(w)s %(fb)s", get())
    whole, milli, micro, decimal, dt, short, wait, first = line.split()
    assert int(whole) == int(micro) // 1000000
    assert int(milli) == int(micro) // 1000
    assert float(decimal) == int(micro) / 1e6
    assert dt.split(".")[0] == milli and len(dt.split(".")[1]) == 3
    assert len(short.split(".")[1]) == 1
    assert 0 <= int(wait) <= int(first) <= int(micro)


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
def test_a_request_is_shown_as_it_came(log: Log, proxied: bool) -> None:
    """The client and the scheme alone are what the application has made of them, from the headers of a proxy."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope |= {
            "method": "PUT",
            "raw_path": b"/b",
            "path": "/b",
            "query_string": b"",
            "headers": [],
            "http_version": "9",
        }
        scope |= {"client": ("10.0.0.9", 1), "scheme": "https"}
        await respond(send)

    proxies = Proxies(TrustedHosts("*"), scheme_of) if proxied else None
    values = json.loads(log.one("json", get("/a?c=d", "User-Agent: agent"), app, proxies=proxies))
    came = {"method": "GET", "path": "/a", "query": "c=d", "http": "1.1", "user_agent": "agent", "host": "x"}
    assert (came | {"client": "10.0.0.9", "scheme": "https"}).items() <= values.items()


# No line is broken


HOSTILE = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127)).decode("latin-1")


@pytest.mark.parametrize("form", [*JSON, "combined", "%(r)s %({x-a}i)s %({x-out}o)s %(U)s %(u)s %(rid)s"])
def test_no_byte_breaks_a_line(log: Log, form: str) -> None:
    """Control characters, quotes and invalid UTF-8 in every field that a client can fill."""
    path = "/" + "".join(f"%{byte:02x}" for byte in range(256)) + '"\\'
    fields = [f"{name}: a{HOSTILE}b" for name in ("User-Agent", "Referer", "X-A", "X-Request-Id", "traceparent")]
    app = hello(headers=[(b"x-out", HOSTILE.strip().encode("latin-1"))])
    proxies = Proxies(TrustedHosts("*"), scheme_of)
    for query in ("?q", "?\"'<>\\"):
        request = get(path + query, *fields)
        line = log.one(form, request, app, request_id_field=b"x-request-id", proxies=proxies)
        assert line.isascii() and line.isprintable()
        if form in JSON:
            values = flat(json.loads(line))
            assert any(str(value).startswith('a\t !"#$') for value in values.values())
        elif form == "combined":
            assert re.fullmatch(r'\S+ - - \[[^]]+\] "[^"]+" 200 5 "[^"]+" "[^"]+"', line)


def test_what_is_escaped_may_be_anywhere(log: Log) -> None:
    """Plain text is copied many bytes at a time: each size, with a byte that is not plain at each place."""
    worker = log.wire("json")
    for size in range(1, 40):
        texts = ["x" * at + byte + "y" * (size - at - 1) for at in range(size) for byte in '"\\\xe9\xff\t']
        texts = [text for text in ("z" * size, *texts) if text == text.strip()]
        for text in texts:
            worker.connect().feed(get("/", f"User-Agent: {text}"))
        assert [json.loads(line)["user_agent"] for line in log.take()] == texts


@pytest.mark.parametrize("form", [*JSON, "combined", "%(r)s " * 5])
def test_long_values_are_cut(log: Log, form: str) -> None:
    """A line and its end are at most 4,096 bytes, and JSON stays valid, also if each byte has six."""
    long = '\xff"' * 2000
    request = get(
        "/" + "p" * 3000 + "?" + "q" * 3000, f"User-Agent: {long}", f"Referer: {long}", f"X-Request-Id: {long}"
    )
    line = log.one(form, request, request_id_field=b"x-request-id", limit_request_head=100000)
    assert len(line) <= 4095
    if form in JSON:
        values = flat(json.loads(line))
        assert any("ppp" in str(value) for value in values.values())
        assert all(len(str(value)) < 2100 for value in values.values())
    elif form != "combined":
        assert len(line) == 4095


def test_default_line_is_never_cut(log: Log) -> None:
    assert len(log.one("default", get("/" + "p" * 6000))) > 6000


# When


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
