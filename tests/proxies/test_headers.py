"""What the headers of proxies say, by the corpus: in the core, and in the middleware that h11 has."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
from fakes.worker import get
from hypothesis import given
from hypothesis import strategies as st

from fastserve import Config
from fastserve._core.http.scope import Peers
from fastserve._core.testing import scope_of
from fastserve.options.table import OptionError
from fastserve.proxies import forwarded, trust
from fastserve.proxies.middleware import Forwarding

from .corpus import ALL, HOST, PREFIX, ROWS, F, Row

SERVER = ("6.7.8.9", 80)


def config(options: dict[str, Any]) -> tuple[Config, tuple[str, int] | None]:
    """Return the configuration of a row, and its peer."""
    options = {"forwarded_allow_ips": "10.0.0.0/8", "peer": ("10.0.0.1", 5000), **options}
    peer = options.pop("peer")
    return Config("app", log_config=None, **options), peer


def lines(headers: str) -> list[str]:
    return [line.strip() for line in headers.split(" | ")] if headers else []


def by_core(row: Row, kind: str) -> dict[str, Any]:
    options, headers, _ = row
    made, peer = config(options)
    settings = made.core_settings()
    upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
               "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]  # fmt: skip
    request = get("/p", *(upgrade if kind == "websocket" else []), *lines(headers)).replace(b"Host: x", b"Host: app")
    scope = scope_of(settings, request, Peers.of(peer, SERVER, "http", settings), {})
    assert scope is not None
    return scope


def by_middleware(row: Row, kind: str) -> dict[str, Any]:
    options, headers, _ = row
    made, peer = config(options)
    prefix = "" if made.root_path_mode == "given" else made.root_path
    pairs = [tuple(part.strip().encode("latin-1") for part in line.split(":", 1)) for line in lines(headers)]
    scope: dict[str, Any] = {
        "type": kind, "scheme": "http" if kind == "http" else "ws", "client": peer, "server": SERVER,
        "root_path": made.root_path, "path": f"{prefix}/p", "raw_path": f"{prefix}/p".encode(),
        "headers": ((b"host", b"app"), *((name.lower(), value) for name, value in pairs)),
    }  # fmt: skip
    proxies = made.trusted_proxies()
    if proxies is not None:
        Forwarding(lambda scope, receive, send: None, proxies, ("http", "websocket"))(scope, None, None)  # type: ignore[arg-type,return-value]
    return scope


def shown(scope: dict[str, Any], name: str) -> Any:
    if name == "host":
        (host,) = [value for key, value in scope["headers"] if key == b"host"]
        return host.decode()
    if name == "raw_path":
        return scope["raw_path"].decode()
    value = scope[name]
    return f"{value[0]}:{value[1]}" if name in ("client", "server") and value is not None else value


@pytest.mark.parametrize("way", [by_core, by_middleware])
@pytest.mark.parametrize("row", ROWS, ids=[f"{number}-{row[1][:40]}" for number, row in enumerate(ROWS)])
def test_corpus(row: Row, way: Any) -> None:
    scope = way(row, "http")
    assert {name: shown(scope, name) for name in row[2]} == row[2]


@pytest.mark.parametrize("row", [row for row in ROWS if "scheme" in row[2]], ids=lambda row: row[1][:40])
def test_schemes_of_websockets(row: Row) -> None:
    assert by_middleware(row, "websocket")["scheme"] == row[2]["scheme"].replace("http", "ws")


FORGED = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-For: 6.6.6.6,",
    "X-Real-IP: 6.6.6.6",
    "X-Forwarded-Host: evil",
    "X-Forwarded-Prefix: /evil",
    "Forwarded: for=6.6.6.6",
    "Forwarded: for=6.6.6.6;host=evil;proto=wss",
]
HONEST = {
    "x-forwarded": "X-Forwarded-For: 192.0.2.1 | X-Forwarded-Host: shop | X-Forwarded-Prefix: /shop",
    "forwarded": "Forwarded: for=192.0.2.1;host=shop",
}


@pytest.mark.parametrize("forged", list(itertools.chain(FORGED, map(" | ".join, itertools.permutations(FORGED, 2)))))
@pytest.mark.parametrize("family", list(HONEST))
def test_what_the_client_sends_first_never_counts(forged: str, family: str) -> None:
    """The proxy adds its headers after those that the client has sent; `*` alone believes the client."""
    options: dict[str, Any] = HOST | ({} if family == "forwarded" else PREFIX) | {"proxy_headers_family": family}
    scope = by_core((options, f"{forged} | {HONEST[family]}", {}), "http")
    assert "6.6.6.6" not in str(scope["client"])
    assert "evil" not in shown(scope, "host") + scope["root_path"]


def test_remembered_values_say_the_same() -> None:
    made, peer = config(F)
    settings = made.core_settings()
    peers = Peers.of(peer, SERVER, "http", settings)
    clients = []
    for number in (*range(5000), *range(4995, 5000), 1):
        scope = scope_of(settings, get("/", f"Forwarded: for=192.0.{number >> 8}.{number & 255}"), peers, {})
        assert scope is not None
        clients.append(scope["client"][0])
    assert len(set(clients)) == 5000
    assert clients[-1] == "192.0.0.1"


def test_values_that_begin_alike_do_not_stand_in_for_each_other() -> None:
    """The core keeps the latest value for each beginning at hand."""
    made, peer = config({"proxy_headers_family": "forwarded"})
    proxies = made.trusted_proxies()
    assert proxies is not None
    begin = "for=192.0.2.100;proto=http, for=192.0.2."
    for end in ("1", "2", "1", "1", "3, for=10.0.0.1", "3, for=10.0.0.2", "x" * 200, "1"):
        scope: dict[str, Any] = {"type": "http", "client": peer, "headers": [(b"forwarded", (begin + end).encode())]}
        proxies.forward_scope(scope)
        assert scope["client"] == (peer if "x" in end else (f"192.0.2.{end[0]}", 0))


TEXTS = st.text(st.sampled_from('for=by;,"\\ \t_192.[]:ab/'), max_size=60)
LATIN1 = st.binary(max_size=60).map(lambda octets: octets.decode("latin-1"))
NODES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map("[{}]".format) | st.sampled_from(["unknown", "_x"])
PORTS = st.none() | st.integers(0, 65535)
VALUES = st.text(st.characters(max_codepoint=255, blacklist_categories=["Cc"]), max_size=9)


class TestForwarded:
    @given(TEXTS | LATIN1)
    def test_any_text(self, text: str) -> None:
        """It is read or refused, and what is read can be used."""
        try:
            found = forwarded.elements(text)
        except forwarded.Malformed:
            return
        assert len(found) <= text.count(",") + 1
        for element in found:
            assert "for" not in element or forwarded.node(element["for"])[0]

    @given(st.lists(st.tuples(NODES, PORTS, VALUES), min_size=1, max_size=20))
    def test_all_that_the_grammar_has(self, rows: list[tuple[str, int | None, str]]) -> None:
        def quoted(text: str) -> str:
            return '"' + "".join(f"\\{char}" if char in '"\\' else char for char in text) + '"'

        texts = [node if port is None else f"{node}:{port}" for node, port, _ in rows]
        header = " ,".join(f"For={quoted(text)};x={quoted(row[2])}" for text, row in zip(texts, rows, strict=True))
        found = forwarded.elements(header)
        assert found == [{"for": text, "x": row[2]} for text, row in zip(texts, rows, strict=True)]
        for element, (node, port, _) in zip(found, rows, strict=True):
            assert forwarded.node(element["for"]) == (node.strip("[]"), port or 0)


class TestContradictions:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"proxy_headers": False, "forwarded_hops": 1}, "leave out --no-proxy-headers or --forwarded-hops"),
            ({"proxy_headers": False, "forwarded_host": True}, "leave out --no-proxy-headers or --forwarded-host"),
            ({"proxy_headers": False, **F}, "leave out --no-proxy-headers or --proxy-headers-family"),
            ({"client_ip_header": "X-Real-IP", "forwarded_hops": 1}, "client_ip_header and forwarded_hops"),
            (F | PREFIX, "use --root-path instead of --forwarded-prefix"),
            (
                {"root_path_mode": "given"},
                "root_path_mode has no effect without root_path: add --root-path or --forwarded-prefix",
            ),
            ({"forwarded_hops": 0}, "from 1 to 100"),
            ({"proxy_headers_family": "both"}, "'both' is not one of x-forwarded, forwarded"),
            ({"client_ip_header": "X Real"}, "client_ip_header"),
        ],
    )
    def test_refused(self, options: dict[str, Any], text: str) -> None:
        with pytest.raises(OptionError) as caught:
            Config("app", log_config=None, **options)
        assert text in str(caught.value)


class TestWarning:
    @pytest.mark.parametrize(
        ("options", "times"),
        [({}, 0), (ALL, 1), ({"forwarded_allow_ips": ["*"]}, 1), (ALL | {"proxy_headers": False}, 0),
         (ALL | {"forwarded_hops": 1}, 0), (ALL | {"client_ip_header": "X-Real-IP"}, 0), (ALL | F, 1)],
    )  # fmt: skip
    def test_of_a_star(self, options: dict[str, Any], times: int, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, "fastserve.error")
        trust.warn(Config("app", log_config=None, **options))
        assert [record.getMessage().count("--forwarded-allow-ips '*'") for record in caplog.records] == [1] * times
