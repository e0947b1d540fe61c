"""`--ssl-hsts`: Strict-Transport-Security on responses over TLS, and on no others (RFC 6797 section 7.2)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import support
from core.responses import Client, Response, read_one
from fakes.worker import get, hello
from tls.pki import Pki, TlsRunning
from tls.test_redirect import plain, redirect_port, request

Serve = Callable[..., TlsRunning]
VALUE = "max-age=31536000; includeSubDomains"
OWN = [(b"Strict-Transport-Security", b"max-age=5")]
HTTP = pytest.mark.parametrize("http", ["auto", "h11"])


def given(response: Response) -> list[bytes]:
    return [value for name, value in response.headers if name == b"strict-transport-security"]


@HTTP
def test_ssl_hsts(serve: Serve, http: str) -> None:
    binds = ["127.0.0.1:0", "http://127.0.0.1:0"]
    server = serve(hello(), http=http, ssl_hsts=VALUE, ssl_redirect=0, bind=binds, port=8000)
    secure, unsecured, redirecting = (each.sockets[0].getsockname()[1] for each in server.server.servers)
    assert server.port == secure
    client = Client(server.connect())
    assert given(client.ask(get())) == [VALUE.encode()]
    assert given(client.ask(get("/", "Connection: close"))) == [VALUE.encode()]
    # What the server responds itself, before there was a request.
    assert given(read_one(server.request(b"wrong\r\n\r\n"))) == [VALUE.encode()]
    for port in (unsecured, redirecting):
        assert given(read_one(plain(port, request()))) == []
        assert given(read_one(plain(port, b"wrong\r\n\r\n"))) == []


@pytest.mark.parametrize("name", ["h11_impl:H11Protocol", "httptools_impl:HttpToolsProtocol"])
def test_classes_of_others(serve: Serve, name: str) -> None:
    binds = ["127.0.0.1:0", "http://127.0.0.1:0"]
    app = hello(headers=OWN)
    seen: list[bytes] = []

    async def either(scope: Any, receive: Any, send: Any) -> None:
        await (app if scope["path"] == "/own" else hello())(scope, receive, send)

    server = serve(either, http=f"uvicorn.protocols.http.{name}", ssl_hsts=VALUE, bind=binds, port=8000)
    unsecured = server.server.servers[1].sockets[0].getsockname()[1]
    for answer in (
        server.request(request("/", "localhost")),
        server.request(request("/own", "localhost")),
        plain(unsecured, request(fields="X-Forwarded-Proto: https\r\n")),
    ):
        seen += re.findall(rb"^strict-transport-security: (.*)\r$", answer, re.MULTILINE | re.IGNORECASE) or [b"none"]
    assert seen == [VALUE.encode(), b"max-age=5", b"none"]


@HTTP
def test_a_proxy_that_says_https_does_not_count(serve: Serve, http: str) -> None:
    """The connection counts: who ends TLS adds the header."""
    server = serve(hello(), http=http, ssl_hsts=VALUE, bind=["127.0.0.1:0", "http://127.0.0.1:0"], port=8000)
    unsecured = server.server.servers[1].sockets[0].getsockname()[1]
    assert given(read_one(plain(unsecured, request(fields="X-Forwarded-Proto: https\r\n")))) == []


@HTTP
def test_the_applications_own_stays(serve: Serve, http: str) -> None:
    server = serve(hello(headers=OWN), http=http, ssl_hsts=VALUE)
    assert given(Client(server.connect()).ask(get())) == [b"max-age=5"]


def test_without_the_option(serve: Serve) -> None:
    assert given(Client(serve(hello()).connect()).ask(get())) == []


@pytest.mark.parametrize(("own", "value"), [([], VALUE), (OWN, "max-age=5")])
def test_http2(serve: Serve, pki: Pki, own: Any, value: str) -> None:
    server = serve(hello(headers=own), ssl_hsts=VALUE, ssl_redirect=0)
    argv = ["curl", "--silent", "--include", "--http2", "--cacert", pki.ca, server.url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=support.PATIENCE, check=True)
    assert done.stdout.startswith("HTTP/2 200")
    assert re.findall("^strict-transport-security: (.*)$", done.stdout, re.MULTILINE) == [value]
    url = f"http://localhost:{redirect_port(server)}"
    argv = ["curl", "--silent", "--include", "--http2-prior-knowledge", url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=support.PATIENCE, check=True)
    assert done.stdout.startswith("HTTP/2 301")
    assert "strict-transport-security" not in done.stdout


def test_wsgi(serve: Serve) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    server = serve(app, interface="wsgi", ssl_hsts=9, ssl_redirect=0)
    assert given(Client(server.connect()).ask(get())) == [b"max-age=9"]
    assert given(read_one(plain(redirect_port(server), request("/.well-known/acme-challenge/x")))) == []
