"""--limit-connections: accepting pauses, but for health checks."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from core.responses import Client, Response
from fakes.worker import hello
from load import PATIENCE, until
from support import Running, Serve

import fastserve.serving.life

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
SPARE = 16
Connect = Callable[[Any], socket.socket]


def connections(server: Running) -> int:
    return server.server.server_state.open_connections


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect to an address: a server that has paused does not say where it listens."""
    with contextlib.ExitStack() as opened:
        yield lambda address: opened.enter_context(socket.create_connection(address, PATIENCE))


def ask(client: socket.socket, request: bytes = GET) -> Response:
    return Client(client).ask(request)


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(65536) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("implementation", ["auto", "h11"])
def test_limit_connections(
    serve: Serve, connect: Connect, implementation: str, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond it some are accepted, and served if they ask for health; the others wait in the kernel."""
    caplog.set_level(logging.INFO, "fastserve.error")
    server = serve(hello(), http=implementation, loop=loop, limit_connections=3, health="/healthz")
    address = server.address
    regular = [connect(address) for _ in range(3)]
    for client in regular:
        assert ask(client).status == 200
    spare = []
    for _ in range(SPARE):
        spare.append(connect(address))
        until(lambda: connections(server) == 3 + len(spare), "it is accepted")
    until(lambda: acceptor(server).paused, "accepting has paused")
    assert "Reached the limit of 3 connections" in caplog.text
    outside = connect(address)
    outside.sendall(GET)
    checked, refused = spare[0], spare[1]
    for _ in range(2):
        assert ask(checked, HEALTH).status == 200
    found = ask(refused)
    assert (found.status, found.get(b"retry-after"), found.get(b"connection")) == (503, b"1", b"close")
    assert is_closed(refused)
    refused.close()
    assert Client(outside).read().status == 503  # accepted in its place
    for client in regular[1:]:
        client.close()
    for client in spare[4:]:
        client.close()
    until(lambda: connections(server) <= 4, "those are gone")
    assert ask(regular[0]).status == 200
    spare[2].close()
    until(lambda: connections(server) <= 3, "there is room for all")
    assert ask(spare[3]).status == 200
    assert not acceptor(server).paused


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_without_health_checks(serve: Serve, connect: Connect, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody is accepted beyond it, and who waits is served as soon as another has gone."""
    monkeypatch.setattr(fastserve.serving.life, "TICK", 10 * PATIENCE)  # it is not what looks now and then that does it
    server = serve(hello(), loop=loop, limit_connections=2)
    address = server.address
    clients = [connect(address) for _ in range(2)]
    for client in clients:
        assert ask(client).status == 200
    until(lambda: acceptor(server).paused, "accepting has paused")
    waiting = connect(address)
    waiting.sendall(GET)
    clients[0].close()
    assert Client(waiting).read().status == 200
    assert connections(server) == 2


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_many_at_once(serve: Serve, connect: Connect, loop: str) -> None:
    """All of a burst get a response in the end; the application sees those that it has room for."""
    server = serve(hello(), loop=loop, limit_connections=5)
    address = server.address
    clients = [connect(address) for _ in range(60)]
    for client in clients:
        client.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    found = []
    for client in clients:
        found.append(Client(client).read().status)
        client.close()
    assert set(found) <= {200, 503}
    assert found.count(200) >= 5
    until(lambda: not acceptor(server).paused, "it accepts again")


def acceptor(server: Running) -> Any:
    return server.server._acceptor


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_connections_without_a_proxy_header(
    serve: Serve, connect: Connect, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They count from their accept, and what comes after the header of those beyond the limit is as without it."""
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    server = serve(hello(), loop=loop, limit_connections=2, health="/healthz", proxy_protocol="v1")
    address = server.address
    for _ in range(2):
        connect(address)
    until(lambda: connections(server) == 2, "both are accepted")
    assert ask(connect(address), header + HEALTH).status == 200
    refused = connect(address)
    assert ask(refused, header + GET).status == 503 and is_closed(refused)
    for _ in range(SPARE):
        connect(address)
    until(lambda: "Reached the limit of 2 connections" in caplog.text, "accepting pauses")


def test_over_http2(serve: Serve, connect: Connect) -> None:
    """Beyond the limit a connection ends with its 503, though others of HTTP/2 go on after one."""
    server = serve(hello(), limit_connections=1, health="/healthz", timeout_keep_alive=600)
    assert ask(connect(server.address)).status == 200
    url = f"http://127.0.0.1:{server.address[1]}"
    with httpx.Client(http1=False, http2=True, base_url=url, timeout=PATIENCE) as client:
        for _ in range(2):
            assert client.get("/healthz").status_code == 200
        assert connections(server) == 2
        assert client.get("/").status_code == 503
        until(lambda: connections(server) == 1, "the connection is closed")
