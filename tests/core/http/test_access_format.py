"""The values of access lines of other formats than the default one, and their limits."""

from __future__ import annotations

import json
import re
import tracemalloc
from typing import Any

import pytest
from core.access import TRACE, Log
from fakes.worker import get, hello, respond

from fastserve._core.http.access_format import AccessFormat
from fastserve._core.http.access_steps import CODE, Step
from fastserve._core.http.proxies import Proxies
from fastserve.logging.access_format import ATOMS, PRESETS
from fastserve.middleware.proxy_headers import TrustedHosts, scheme_of

JSON = list(PRESETS)


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
