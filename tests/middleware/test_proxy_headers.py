"""What proxies say: the middleware and the core against uvicorn's middleware, on many combinations of headers."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from typing import Any

import pytest
from fakes.http2 import GET, Http2Client
from fakes.settings import make_settings
from fakes.worker import FakeWorker, respond
from hypothesis import given, settings
from hypothesis import strategies as st

from fastserve._core.http.proxies import Proxies
from fastserve._core.http.scope import Peers
from fastserve._core.testing import scope_of
from fastserve.middleware import proxy_headers
from fastserve.middleware.proxy_headers import ProxyHeadersMiddleware, TrustedHosts, scheme_of

reference = pytest.importorskip("uvicorn.middleware.proxy_headers")

HOSTS = ["127.0.0.1", "10.0.0.1", "10.0.0.2", "192.168.0.7", "1.2.3.4", "::1", "fe80::1", "0:0:0:0:0:0:0:1", "unknown"]
HOSTS += ["UNKNOWN", "_a.b-c", "_", "fe80::1%eth0", "fe80::1%\x85", "a.example", "1.2.3", "_" * 5000]
FORMS = [
    "{}", "{}:80", "[{}]", "[{}]:80", "[{}", "[{}]x", "{}:", "{}:x", " {} ", "{}\xa0", "{}: 8_0 ", ":80", "",
    "{}:65535", "{}:65536", "[{}]:99999", "{}:-1", "{}\t", '"{}"', "{}\x9b31m",
]  # fmt: skip
TRUSTED: list[Any] = [
    "127.0.0.1", "127.0.0.1,::1", "*", ["*"], "", "10.0.0.0/8, 127.0.0.1", "10.0.0.1/8", ["127.0.0.1", "unknown"],
    "::/0,127.0.0.0/24", " 127.0.0.1 ", [" 127.0.0.1"], "fe80::/64,10.0.0.1,192.168.0.7,1.2.3.4", "a/b", "/run/x",
]  # fmt: skip
PROTOCOLS = ["http", "https", "ws", "wss", "HTTPS", "ftp", "", " https ", "https\xa0", "https,http", "\x85wss"]

hosts = st.builds(str.format, st.sampled_from(FORMS), st.sampled_from(HOSTS))
chains = st.lists(hosts, min_size=1, max_size=4).map(", ".join)
header = st.one_of(
    st.tuples(st.just(b"x-forwarded-for"), chains.map(lambda text: text.encode("latin-1"))),
    st.tuples(st.just(b"x-forwarded-for"), st.binary(max_size=20)),
    st.tuples(st.just(b"x-forwarded-proto"), st.sampled_from(PROTOCOLS).map(lambda text: text.encode("latin-1"))),
    st.just((b"forwarded", b"for=9.9.9.9")),
)
clients = st.one_of(st.none(), st.tuples(st.sampled_from(HOSTS), st.integers(0, 65535)))


def judged(found: dict[str, Any], before: Any) -> dict[str, Any]:
    """Return what uvicorn's middleware made of a scope, with the client of `before` where its own is none."""
    if found["client"] == before:
        return found
    host, port = found["client"]
    try:
        ipaddress.ip_address(host)
        known = bool(re.fullmatch(r"[^%]*(%[\w.~-]+)?", host, re.ASCII))
    except ValueError:
        known = len(host) < 254 and bool(re.fullmatch(r"unknown|_[\w.-]+", host, re.IGNORECASE | re.ASCII))
    return {**found, "client": (host, port if port in range(65536) else 0) if known else before}


def seen(middleware: Any, trusted: Any, scope: dict[str, Any]) -> dict[str, Any]:
    """Return the scope that an application behind the middleware gets."""
    found: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope)

    asyncio.run(middleware(app, trusted)(dict(scope), None, None))
    (one,) = found
    return one


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TRUSTED), clients, st.lists(header, max_size=5), st.sampled_from(["http", "websocket"]))
def test_middleware_is_uvicorns(trusted: Any, client: Any, headers: Any, kind: str) -> None:
    scope = {"type": kind, "client": client, "scheme": "http", "headers": headers}
    wanted = judged(seen(reference.ProxyHeadersMiddleware, trusted, scope), client)
    assert seen(ProxyHeadersMiddleware, trusted, scope) == wanted


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TRUSTED), st.one_of(st.none(), st.sampled_from(HOSTS)), chains)
def test_names_that_programs_use_are_uvicorns(trusted: Any, host: str | None, chain: str) -> None:
    """Deployed applications test by them which clients their proxy settings trust."""
    theirs, ours = reference._TrustedHosts(trusted), proxy_headers._TrustedHosts(trusted)
    assert ours.always_trust is theirs.always_trust
    assert (host in ours) == (host in theirs)
    assert ours.get_trusted_client_address(chain) == theirs.get_trusted_client_address(chain)
    assert isinstance(ProxyHeadersMiddleware(None, trusted).trusted_hosts, proxy_headers._TrustedHosts)  # type: ignore[arg-type]


def is_field_value(value: bytes) -> bool:
    """Return whether a value goes through a request unchanged."""
    return value == value.strip(b" \t") and all(0x20 <= byte != 0x7F for byte in value)


core_headers = st.lists(header.filter(lambda pair: is_field_value(pair[1])), max_size=5)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TRUSTED), clients, core_headers)
def test_core_is_uvicorns(trusted: Any, client: Any, headers: Any) -> None:
    proxies = Proxies(TrustedHosts(trusted), scheme_of)
    config = make_settings(proxies=proxies)
    fields = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    request = b"GET / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n"
    for _ in range(2):  # the second time from what is remembered
        found = scope_of(config, request, Peers.of(client, None, "http", config), {})
        assert found is not None
        wanted = {"type": "http", "client": client, "scheme": "http", "headers": [(b"host", b"x"), *headers]}
        wanted = judged(seen(reference.ProxyHeadersMiddleware, trusted, wanted), client)
        assert {name: found[name] for name in wanted} == wanted


def fit_into_a_frame(headers: Any) -> bool:
    return sum(len(name) + len(value) for name, value in headers) < 16_000


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TRUSTED), clients, core_headers.filter(fit_into_a_frame))
def test_core_is_uvicorns_over_http2(trusted: Any, client: Any, headers: Any) -> None:
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope)
        await respond(send)

    wire = FakeWorker(app, proxies=Proxies(TrustedHosts(trusted), scheme_of))
    try:
        fields = [(name.decode(), value.decode("latin-1")) for name, value in headers]
        connected = Http2Client(wire, peername=client)
        for stream in (1, 3):
            assert connected.ask(stream, [*GET, *fields]).status == 200
        wanted = {"type": "http", "client": client, "scheme": "http", "headers": [(b"host", b"a"), *headers]}
        wanted = judged(seen(reference.ProxyHeadersMiddleware, trusted, wanted), client)
        assert [{name: scope[name] for name in wanted} for scope in found] == [wanted] * 2
    finally:
        wire.close()


@pytest.mark.parametrize("wrong", ["\x9b31m", '1.2.3.4"', "x" * 5000, "fe80::1%\x85", "1.2.3.4 5", "a.example"])
@pytest.mark.parametrize("trusted", ["*", "127.0.0.1"])
def test_what_is_no_address_is_ignored(wrong: str, trusted: str) -> None:
    for value in (wrong, f"1.2.3.4, {wrong}") if trusted != "*" else (wrong, f"{wrong}, 1.2.3.4"):
        assert TrustedHosts(trusted).client(value) == ("", 0)


@pytest.mark.parametrize(
    ("value", "client"),
    [("1.2.3.4:65535", ("1.2.3.4", 65535)), ("1.2.3.4:65536", ("1.2.3.4", 0)), ("[::1]:99999", ("::1", 0)),
     ("unknown", ("unknown", 0)), ("_gazonk", ("_gazonk", 0)), ("fe80::1%eth0", ("fe80::1%eth0", 0)),
     ("1.2.3.4:_port", ("1.2.3.4", 0))],
)  # fmt: skip
def test_what_an_address_is(value: str, client: tuple[str, int]) -> None:
    assert TrustedHosts("*").client(value) == client


def test_lifespan_is_passed_on() -> None:
    assert seen(ProxyHeadersMiddleware, "*", {"type": "lifespan"}) == {"type": "lifespan"}


def test_default_trusts_the_local_host() -> None:
    made = ProxyHeadersMiddleware(None)  # type: ignore[arg-type]
    assert [made.trusted_hosts.trusts(host) for host in ("127.0.0.1", "::1", "10.0.0.1", None)] == [True] + [False] * 3


@pytest.mark.parametrize(
    ("trusted", "host", "trusts"),
    [
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("10.0.0.0/8", "::ffff:10.9.9.9", True),
        ("10.0.0.0/8", "::ffff:11.0.0.1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::FFFF:a00:1", "10.0.0.1", True),
        ("::ffff:10.0.0.0/104", "10.9.9.9", True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", False),
        ("::ffff:0:0/96", "11.0.0.1", True),
        ("::/0", "::ffff:10.0.0.1", True),
        ("::1", "0.0.0.1", False),
    ],
)
def test_mapped_addresses_are_those_of_ipv4(trusted: str, host: str, trusts: bool) -> None:
    assert TrustedHosts(trusted).trusts(host) == trusts


def test_what_is_remembered_is_bounded() -> None:
    """More clients than are remembered, and values too long to be, are forwarded as well as any."""
    config = make_settings(proxies=Proxies(TrustedHosts("*"), scheme_of))
    peers = Peers.of(("127.0.0.1", 1), None, "http", config)
    for number in [*range(4100), 0]:
        host = f"10.{number >> 8}.{number & 255}.1" + ", 127.0.0.1" * (30 * (number == 7))
        found = scope_of(config, b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %b\r\n\r\n" % host.encode(), peers, {})
        assert found is not None
        assert found["client"] == (host.partition(",")[0], 0)


@pytest.mark.parametrize("wrong", [object(), "127.0.0.1"])
def test_settings_take_proxies_alone(wrong: Any) -> None:
    config = make_settings(proxies=wrong)
    with pytest.raises(TypeError):
        Peers.of(("127.0.0.1", 1), None, "http", config)
