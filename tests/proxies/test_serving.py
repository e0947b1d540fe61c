"""What applications see behind a proxy that is trusted, by each option, over every protocol."""

from __future__ import annotations

import pytest
import support

from .seen import WAYS, seen, started

pytestmark = pytest.mark.parametrize("way", list(WAYS))

FORGED = {"X-Real-IP": "6.6.6.6", "X-Forwarded-Proto": "https", "Forwarded": "for=6.6.6.6;proto=https;host=evil"}


def test_proxy_headers_family(serve: support.Serve, way: str) -> None:
    """One family counts, whatever the client sends of the other."""
    server = started(serve, way, proxy_headers_family="forwarded")
    headers = {"Forwarded": 'for="[2001:db8::1]:9";proto=https', "X-Forwarded-For": "6.6.6.6"}
    found = seen(server, way, headers)
    assert (found["client"], found["scheme"]) == (["2001:db8::1", 9], "https")
    found = seen(server, way, {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"})
    assert (found["client"][0], found["scheme"]) == ("127.0.0.1", "http")


def test_forwarded_hops(serve: support.Serve, way: str) -> None:
    server = started(serve, way, forwarded_hops=2, forwarded_allow_ips="*")
    found = seen(server, way, {"X-Forwarded-For": "6.6.6.6, 192.0.2.1, 192.0.2.2", **FORGED})
    assert found["client"] == ["192.0.2.1", 0]


def test_forwarded_host(serve: support.Serve, way: str) -> None:
    """It replaces the Host header; the address of the server stays."""
    server = started(serve, way, forwarded_host=True)
    headers = {"X-Forwarded-Host": "shop.example", "X-Forwarded-Port": "8443", "X-Forwarded-Proto": "https"}
    found = seen(server, way, headers)
    assert (found["host"], found["server"][0]) == ("shop.example:8443", "127.0.0.1")
    server = started(serve, way)
    assert seen(server, way, headers)["host"] == f"127.0.0.1:{server.port}"


def test_forwarded_prefix(serve: support.Serve, way: str) -> None:
    server = started(serve, way, forwarded_prefix=True, root_path="/own")
    found = seen(server, way, {"X-Forwarded-Prefix": "/shop"})
    assert (found["root_path"], found["path"]) == ("/shop", "/shop/p")
    assert seen(server, way, {"X-Forwarded-Prefix": "/shop/../x"})["root_path"] == "/own"


def test_client_ip_header(serve: support.Serve, way: str) -> None:
    server = started(serve, way, client_ip_header="CF-Connecting-IP")
    found = seen(server, way, {"CF-Connecting-IP": "192.0.2.1", "X-Forwarded-For": "6.6.6.6", **FORGED})
    assert (found["client"], found["scheme"]) == (["192.0.2.1", 0], "https")
    assert seen(server, way, {"X-Forwarded-For": "6.6.6.6"})["client"][0] == "127.0.0.1"


def test_root_path_mode(serve: support.Serve, way: str) -> None:
    """With `given`, the path that the proxy sends has the prefix already."""
    server = started(serve, way, root_path="/shop", root_path_mode="given")
    found = seen(server, way, {}, "/shop/p")
    assert (found["root_path"], found["path"]) == ("/shop", "/shop/p")


def test_nobody_else_is_believed(serve: support.Serve, way: str) -> None:
    server = started(
        serve, way, forwarded_allow_ips="10.0.0.1,unix:", forwarded_host=True, forwarded_prefix=True,
        proxy_headers_family="x-forwarded", forwarded_hops=1,
    )  # fmt: skip
    sent = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil", "X-Forwarded-Prefix": "/evil", **FORGED}
    found = seen(server, way, sent)
    assert (found["client"][0], found["scheme"], found["root_path"]) == ("127.0.0.1", "http", "")
    assert "evil" not in found["host"]
