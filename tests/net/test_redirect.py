"""The application that redirects to HTTPS: scopes in, responses out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastserve.net.redirect import Redirect
from fastserve.net.server_names import ByName

NAMES: ByName[bool] = ByName()
NAMES.add(["a.example", "*.b.example", "127.0.0.1", "2001:db8::1", "under_score.example"], True)

Sent = list[dict[str, Any]]


def asked(
    host: str | None,
    path: bytes = b"/",
    *,
    query: bytes = b"",
    method: str = "GET",
    server: Any = ("127.0.0.1", 80),
    port: int = 443,
    names: ByName[bool] | None = NAMES,
) -> tuple[Any, ...]:
    """Return what a client is sent: status and Location, or what the other application sends."""
    sent: Sent = []

    async def other(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "raw_path": path, "query_string": query, "server": server,
        "headers": [(b"accept", b"*/*"), *([(b"host", host.encode("latin-1"))] if host is not None else [])],
    }  # fmt: skip
    asyncio.run(Redirect(other, lambda: names, port)(scope, None, send))
    fields = dict(sent[0]["headers"])
    assert fields.pop(b"content-length", b"0") == b"0"
    return (sent[0]["status"], *(value.decode("ascii") for value in fields.values()))


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_method(method: str) -> None:
    """The method stays as it is, also where 301 would not keep it."""
    assert asked("a.example", method=method) == (301 if method in ("GET", "HEAD") else 308, "https://a.example/")


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("a.example", "a.example"),
        ("A.Example", "A.Example"),
        ("a.example.", "a.example."),
        ("x.b.example", "x.b.example"),
        ("under_score.example", "under_score.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[2001:DB8:0::1]", "[2001:db8::1]"),
        ("[2001:db8::1]:80", "[2001:db8::1]"),
    ],
)
def test_host(host: str, shown: str) -> None:
    assert asked(host) == (301, f"https://{shown}/")


@pytest.mark.parametrize(
    "host", ["evil.example", "b.example", "x.y.b.example", "127.0.0.2", "[::1]", "a.example.evil.example", "[1:2]"]
)
def test_host_of_no_certificate(host: str) -> None:
    """There is no way to be redirected to another site, or to one whose certificate would not be valid."""
    assert asked(host) == (421,)


HOSTILE = [
    "", " ", "a.example a", "a.example@evil.example", "evil.example/a.example", "a.example\\", "a.example:",
    "a.example:x", "a.example:443:80", "a.example:999999", ".a.example", "a.example\t", "a.example\r\nx: y",
    "a.example\0", "a.example\xe9", "[", "[]", "[::1", "2001:db8::1", "[2001:db8::1%25eth0]", "[2001:db8::1]x",
    "a.example#", "a.example?x", "-",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTILE)
@pytest.mark.parametrize("names", [NAMES, None])
def test_what_is_not_a_host(host: str, names: ByName[bool] | None) -> None:
    assert asked(host, names=names) in ((400,), (421,))


def test_no_host() -> None:
    assert asked(None) == (400,)


def test_names_that_are_not_known() -> None:
    """Those of a context of the program's own: any host that is one."""
    assert asked("any.example", names=None) == (301, "https://any.example/")


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        (b"/", b"", "/"),
        (b"/a/b%20c;d=e", b"x=1&y=%2F", "/a/b%20c;d=e?x=1&y=%2F"),
        (b"//evil.example/x", b"", "//evil.example/x"),
        (b"/\\evil.example", b"", "/%5Cevil.example"),
        (b"/../../x", b"", "/../../x"),
        (b"/a\r\nset-cookie: x", b"\r\n", "/a%0D%0Aset-cookie:%20x?%0D%0A"),
        (b"/\xff\"<>'#", b"\xc3\xa9#", "/%FF%22%3C%3E'%23?%C3%A9%23"),
        (b"/%0d%0a", b"%0d%0a", "/%0d%0a?%0d%0a"),
        (b"*", b"", "/"),
        (b"evil.example", b"", "/"),
        (b"@evil.example", b"", "/"),
        (b"", b"", "/"),
    ],
)
def test_target(path: bytes, query: bytes, target: str) -> None:
    """It follows the host and a slash, so that nothing in it names another host, or ends the header."""
    assert asked("a.example", path, query=query) == (301, f"https://a.example{target}")


@pytest.mark.parametrize(
    ("host", "server", "port", "shown"),
    [
        ("a.example", ("::", 80), 443, ""),
        ("a.example:80", ("::", 80), 8443, ":8443"),
        ("a.example", ("::", 80), 8443, ":8443"),
        ("a.example:8080", ("::", 8080), 8443, ":8443"),
        ("a.example:8080", ("::", 8080), 443, ""),
        # What passes port 80 on to another one does so with 443.
        ("a.example", ("::", 8080), 8443, ""),
        ("a.example", ("/run/redirect.sock", None), 8443, ""),
        ("a.example", None, 8443, ""),
    ],
)
def test_port(host: str, server: Any, port: int, shown: str) -> None:
    assert asked(host, server=server, port=port) == (301, f"https://a.example{shown}/")


TOKEN = b"/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("host", ["a.example", "new.example", None])
def test_challenge(host: str | None, method: str) -> None:
    """It gets to the other application, for a host that has no certificate yet as well."""
    assert asked(host, TOKEN, method=method) == (299,)


@pytest.mark.parametrize(
    "path",
    [
        b"/.well-known/acme-challenge/", b"/.well-known/acme-challenge", b"/.well-known/acme-challenge/../admin",
        b"/.well-known/acme-challenge/%2e%2e/admin", TOKEN + b"/", TOKEN + b"/x", TOKEN + b"%2f", TOKEN + b"\n",
        TOKEN + b";x", b"/x" + TOKEN, b"/.WELL-KNOWN/acme-challenge/x", b"//.well-known/acme-challenge/x",
    ],
)  # fmt: skip
def test_what_is_not_a_challenge(path: bytes) -> None:
    assert asked("a.example", path)[0] == 301
