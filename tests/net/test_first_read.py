"""What clients have sent by the time that their connection is made, which the core reads before the loop does."""

from __future__ import annotations

import re
import socket
import threading
from typing import Any

import pytest
from core.frames import CLOSE, FIN, TEXT, frame
from support import PATIENCE, Running, Serve, read_all

from fastserve._core.connection import Connection
from fastserve._core.preface import Preface
from fastserve.protocols.http import h11_impl
from fastserve.proxies.protocol import Expected

LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
FIRST = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nConnection: close\r\n\r\nabc"
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LARGE = LAST.replace(b"\r\n\r\n", b"\r\nX-Large: " + b"x" * 20_000 + b"\r\n\r\n")
HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
END = frame(FIN | CLOSE, b"\x03\xe8")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Echo bodies and messages."""
    message = await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    body = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode() + body})


class Blocked:
    """The server's loop while it does nothing."""

    def __init__(self, server: Running) -> None:
        self.loop = server.server.loop
        self.over = threading.Event()

    def __enter__(self) -> None:
        begun = threading.Event()

        def block() -> None:
            begun.set()
            self.over.wait(PATIENCE)

        self.loop.call_soon_threadsafe(block)
        assert begun.wait(PATIENCE)

    def __exit__(self, *details: object) -> None:
        self.over.set()


def exchange(server: Running, pieces: tuple[bytes, ...], early: bool, ends: bool) -> bytes:
    """Return all that the server sends; the first piece is there before the connection is made, or comes after that."""
    if early:
        with Blocked(server):
            sock = server.connect()
            sock.sendall(pieces[0])
            if ends and len(pieces) == 1:
                sock.shutdown(socket.SHUT_WR)
    else:
        sock = server.connect()
        while not server.server.server_state.connections:
            server.go_round()
        sock.sendall(pieces[0])
    with sock:
        for piece in pieces[1:]:
            server.go_round()
            sock.sendall(piece)
        if ends and not (early and len(pieces) == 1):
            sock.shutdown(socket.SHUT_WR)
        received = read_all(sock)
    while server.server.server_state.connections:
        server.go_round()
    return re.sub(rb"date: [^\r]*", b"date", received)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(
    ("pieces", "ends"),
    [
        ((LAST,), False),
        ((LAST,), True),
        ((FIRST,), True),
        ((FIRST * 3 + LAST,), False),
        ((FIRST[:20], FIRST[20:] + LAST), False),
        ((LAST[:1], LAST[1:]), False),
        ((POST, b"def"), False),
        ((POST + b"def",), False),
        ((LARGE,), False),
        ((LARGE[:4096], LARGE[4096:]), False),
        ((FIRST, LAST), False),
        ((HANDSHAKE, frame(FIN | TEXT, b"text"), END), False),
        ((HANDSHAKE + frame(FIN | TEXT, b"text") + END,), False),
        ((b"no HTTP\r\n\r\n",), False),
        ((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0",), True),
        ((POST[:1], POST[1:] + b"def"), False),
    ],
)
@pytest.mark.parametrize("config", [{}, {"limit_requests": 1}, {"limit_concurrency": 10}, {"proxy_protocol": "v1"}])
def test_it_makes_no_difference(
    serve: Serve, loop: str, pieces: tuple[bytes, ...], ends: bool, config: dict[str, Any]
) -> None:
    server = serve(app, loop=loop, **config)
    if config.get("proxy_protocol"):
        pieces = (HEADER + pieces[0], *pieces[1:])
    late, early = exchange(server, pieces, False, ends), exchange(server, pieces, True, ends)
    assert early == late
    assert late


def test_the_last_request_is_responded_to_before_the_loop_reads(serve: Serve) -> None:
    called: list[str] = []
    made: list[list[str]] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["path"])
        await app(scope, receive, send)

    class Noting(Connection):
        __module__ = Connection.__module__

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            made.append([*called, transport.is_closing()])

    server = serve(noting, loop="uvloop", http=Noting)
    assert exchange(server, (LAST,), True, False).endswith(b"/last")
    assert made == [["/last", True]]
    for _ in range(20):  # from then on requests that come at once are served in batches
        with Blocked(server):
            several = [server.connect() for _ in range(8)]
            for sock in several:
                sock.sendall(LAST)
        for sock in several:
            with sock:
                assert read_all(sock).endswith(b"/last")
    assert all(closing for *_, closing in made)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[Preface]:
    """The connections whose PROXY header was not there when they were made."""
    found = []
    wait = Expected.wait

    def noted(self: Expected, preface: Preface) -> None:
        found.append(preface)
        wait(self, preface)

    monkeypatch.setattr(Expected, "wait", noted)
    return found


@pytest.mark.parametrize("config", [{}, {"limit_requests": 1}])
def test_a_proxy_header_that_is_there_is_not_waited_for(
    serve: Serve, config: dict[str, Any], waited: list[Preface]
) -> None:
    """The last request of a connection that comes with it is run at once, also where several come at a time."""
    called: list[str] = []
    at_once: list[bool] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["path"])
        await app(scope, receive, send)

    class Noting(Connection):
        __module__ = Connection.__module__

        def data_received(self, data: bytes) -> None:
            before = len(called)
            super().data_received(data)
            at_once.append(len(called) > before)

    server = serve(noting, loop="uvloop", proxy_protocol="v1", http=Noting, **config)
    for _ in range(20):
        with Blocked(server):
            several = [server.connect() for _ in range(8)]
            for sock in several:
                sock.sendall(HEADER + LAST)
        for sock in several:
            with sock:
                assert read_all(sock).endswith(b"/last")
    assert not waited
    assert all(at_once) and len(at_once) == 160
    assert exchange(server, (HEADER[:9], HEADER[9:] + LAST), True, False).endswith(b"/last")
    assert len(waited) == 1


def test_a_proxy_header_is_left_to_the_loop_where_requests_have_to_wait(serve: Serve, waited: list[Preface]) -> None:
    """The core could not pause reading yet."""
    server = serve(app, loop="uvloop", proxy_protocol="v1", limit_requests=1)
    worker = server.server.server_state.worker
    assert worker is not None
    with server.connect() as busy:
        busy.sendall(HEADER + POST)
        while not worker.active:
            server.go_round()
        before = len(waited)
        with Blocked(server):
            sock = server.connect()
            sock.sendall(HEADER + LAST)
        with sock:
            while len(waited) == before:
                server.go_round()
            busy.sendall(b"def")
            assert read_all(busy).endswith(b"/postabcdef")
            assert read_all(sock).endswith(b"/last")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("http", ["auto", "h11"])
def test_a_request_that_comes_with_the_end_of_its_connection(serve: Serve, http: str, loop: str) -> None:
    """An application that gives up on http.disconnect has the end of the body first."""

    async def giving_up(scope: Any, receive: Any, send: Any) -> None:
        if (await receive())["type"] == "http.request":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"whole"})

    server = serve(giving_up, http=http, loop=loop)
    assert exchange(server, (LAST,), True, True).endswith(b"whole")
    with server.connect() as sock:  # one that the loop polls already
        server.go_round()
        with Blocked(server):
            sock.sendall(LAST)
            sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).endswith(b"whole")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_request_that_h11_ends_only_after_the_first_step(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    """As when reading its head has taken long; then the connection ends before the application goes on."""
    monkeypatch.setattr(h11_impl, "SHARE_SECONDS", -1)
    heard: list[tuple[str, str]] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        heard.append((scope["path"], (await receive())["type"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"whole"})

    server = serve(noting, http="h11", loop=loop)
    assert exchange(server, (FIRST + LAST,), True, True).endswith(b"whole")
    assert heard == [("/first", "http.request"), ("/last", "http.request")]


def test_a_client_that_is_gone(serve: Serve) -> None:
    server = serve(app, loop="uvloop")
    with Blocked(server), server.connect() as sock:
        sock.sendall(LAST)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert exchange(server, (LAST,), True, False).endswith(b"/last")


@pytest.mark.parametrize(("host", "addresses"), [("127.0.0.1", ["127.0.0.1"]), ("0.0.0.0", ["127.0.0.1", "127.0.0.2"])])
def test_the_address_of_the_server(serve: Serve, host: str, addresses: list[str]) -> None:
    seen: list[Any] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        seen.append(tuple(scope["server"]))
        await app(scope, receive, send)

    server = serve(noting, host=host, loop="uvloop")
    for _ in range(2):
        for address in addresses:
            with socket.create_connection((address, server.port), PATIENCE) as sock:
                sock.sendall(LAST)
                assert read_all(sock)
    assert seen == [(address, server.port) for address in addresses] * 2
