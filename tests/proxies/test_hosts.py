"""--allowed-hosts: which requests are served, over every protocol."""

from __future__ import annotations

import httpx
import pytest
import support

from fastserve.proxies.hosts import AllowedHosts

from .seen import WAYS, ask, seen, started


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("example.com", True),
        ("EXAMPLE.com:8443", True),
        ("example.com.", True),
        ("example.com.:80", True),
        ("a.b.example.org", True),
        ("a.example.org:1", True),
        ("[::1]", True),
        ("[::1]:80", True),
        ("example.org", False),
        (".example.org", False),
        ("evilexample.com", False),
        ("evilexample.org", False),
        ("example.com.evil", False),
        ("a.example.org.evil", False),
        ("::1", False),
        ("", False),
    ],
)
def test_names(host: str, allowed: bool) -> None:
    hosts = AllowedHosts(["example.com", "*.example.org", "[::1]"])
    assert hosts.allows([(b"accept", b"*/*"), (b"host", host.encode())]) is allowed
    assert hosts.allows([(b"host", host.encode())]) is allowed  # remembered
    assert not hosts.allows([(b"accept", b"*/*")])


def test_memory_is_bounded() -> None:
    hosts = AllowedHosts(["*.a"])
    for number in range(5000):
        assert hosts.allows([(b"host", b"%d.a" % number)])
    assert len(hosts.remembered) <= 1024


@pytest.mark.parametrize("way", list(WAYS))
def test_allowed_hosts(serve: support.Serve, way: str) -> None:
    """Others get 421, and the application is not called; health is told to all."""
    server = started(serve, way, allowed_hosts="shop.example,*.shop.example", health="/healthz")
    assert seen(server, way, {"Host": "a.shop.example:99"})["path"] == "/p"
    assert ask(server, way, {"Host": "evil.example"}).status_code == 421
    if not way.startswith("websocket") and way != "uvicorn":  # whose class knows of no health
        assert ask(server, way, {"Host": "10.0.0.1"}, "/healthz").text == "ok"


@pytest.mark.parametrize("way", list(WAYS))
def test_forwarded_host_is_the_one_that_counts(serve: support.Serve, way: str) -> None:
    server = started(serve, way, allowed_hosts=["shop.example"], forwarded_host=True)
    assert ask(server, way, {"Host": "backend", "X-Forwarded-Host": "shop.example"}).status_code == 200
    assert ask(server, way, {"Host": "shop.example", "X-Forwarded-Host": "evil"}).status_code == 421


def test_log_has_the_refusal(command: support.StartCommand) -> None:
    server = command("shell_apps:app", "--app-dir", support.APPS, "--port", "0", "--allowed-hosts", "shop.example")
    assert httpx.get(server.url, trust_env=False, timeout=support.PATIENCE).status_code == 421
    server.wait_line(r'"GET / HTTP/1\.1" 421 Misdirected Request$')
