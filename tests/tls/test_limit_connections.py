"""--limit-connections with TLS after a PROXY header."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
import support
from fakes.worker import hello
from load import until
from tls.pki import Pki, TlsRunning

from fastserve.net.accepting import SPARE

Serve = Callable[..., TlsRunning]
HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"


def connect(server: TlsRunning) -> socket.socket:
    return socket.create_connection(server.address[:2], support.PATIENCE)


def test_connections_without_their_header_count(serve: Serve, pki: Pki) -> None:
    server = serve(hello(), limit_connections=2, health="/healthz", proxy_protocol="v1")

    def ask(path: str) -> bytes:
        with connect(server) as sock:
            sock.sendall(HEADER)
            with pki.trusting().wrap_socket(sock, server_hostname="localhost") as secure:
                secure.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                return support.read_all(secure)

    acceptor: Any = server.server._acceptor
    open_connections = acceptor._open_connections
    with connect(server), connect(server):
        until(lambda: open_connections() == 2, "both are accepted")
        assert ask("/healthz").startswith(b"HTTP/1.1 200 ")
        assert ask("/").startswith(b"HTTP/1.1 503 ")
    until(lambda: open_connections() == 0, "all are closed")
    assert ask("/").startswith(b"HTTP/1.1 200 ")


def test_connections_in_their_handshake_count(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(hello(), limit_connections=2, health="/healthz", proxy_protocol="v1")
    acceptor: Any = server.server._acceptor
    with contextlib.ExitStack() as stack:
        for _ in range(2 + SPARE):
            sock = stack.enter_context(connect(server))
            sock.sendall(HEADER + b"\x16\x03")
        until(lambda: "Reached the limit of 2 connections" in caplog.text, "accepting pauses")
    until(lambda: not acceptor.paused, "it accepts again")
