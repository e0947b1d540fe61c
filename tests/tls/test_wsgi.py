"""WSGI applications over TLS: what they are told of it, bodies both ways, and tests of plain connections once more."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core.responses import Client
from tls.pki import TlsRunning
from wsgi.conftest import log
from wsgi.test_request_body import TestExpect, test_an_answer_while_the_body_comes
from wsgi.test_response import TestClose, TestStreaming, test_requests_on_one_connection

__all__ = [
    "TestClose",
    "TestExpect",
    "TestStreaming",
    "log",
    "test_an_answer_while_the_body_comes",
    "test_requests_on_one_connection",
]

Environ = dict[str, Any]
Serve = Callable[..., TlsRunning]

LARGE = random.Random(1).randbytes(2_000_000)


class App:
    """Answers as $PATH_INFO says, and keeps the environ of the last request."""

    environ: Environ

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        self.environ = environ
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        path = environ["PATH_INFO"]
        if path == "/digest":
            return [hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()]
        if path == "/pieces":
            return self.pieces()
        if path == "/file":
            return environ["wsgi.file_wrapper"](io.BytesIO(LARGE))
        return [b"hello"]

    def pieces(self) -> Iterator[bytes]:
        for begin in range(0, len(LARGE), 100_000):
            yield LARGE[begin : begin + 100_000]


@pytest.fixture
def start(serve: Serve) -> Callable[..., TlsRunning]:
    return lambda app, **config: serve(app, interface="wsgi", **config)


@pytest.fixture
def client(start: Callable[..., TlsRunning]) -> Callable[..., Client]:
    return lambda app, **config: Client(start(app, **config).connect())


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def server(start: Callable[..., TlsRunning], app: App) -> TlsRunning:
    return start(app)


def test_environ(server: TlsRunning, app: App) -> None:
    assert server.fetch("/")[2] == b"hello"
    assert (app.environ["wsgi.url_scheme"], app.environ["HTTPS"]) == ("https", "on")
    assert (app.environ["SERVER_PORT"], app.environ["REMOTE_ADDR"]) == (str(server.port), "127.0.0.1")


def test_a_proxy_that_was_asked_in_the_clear_says_so(server: TlsRunning, app: App) -> None:
    server.fetch("/", headers={"X-Forwarded-Proto": "http"})
    assert app.environ["wsgi.url_scheme"] == "http"
    assert "HTTPS" not in app.environ


@pytest.mark.parametrize("length", [True, False])
def test_request_body(server: TlsRunning, length: bool) -> None:
    body = LARGE if length else iter([LARGE[:700_000], LARGE[700_000:]])
    assert server.fetch("/digest", "POST", body)[2].decode() == hashlib.sha256(LARGE).hexdigest()


@pytest.mark.parametrize("path", ["/pieces", "/file"])
def test_response_body(server: TlsRunning, path: str) -> None:
    assert server.fetch(path)[2] == LARGE
