"""WebSockets over TLS, and behind a proxy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import support
from core.frames import BINARY, binary
from tls.pki import TlsRunning
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from ws import Socket, close, closing, echo, upgrade

Serve = Callable[..., TlsRunning]
TIMEOUT = 60.0


def opened(server: support.Running, *fields: str) -> Socket:
    client = Socket(server.connect())
    client.open("/", *fields)
    return client


@contextlib.asynccontextmanager
async def connected(server: TlsRunning) -> AsyncIterator[ClientConnection]:
    """Connect the client of websockets for asyncio: its other one uses a TLS socket in two threads, which can hang."""
    async with connect(f"wss://localhost:{server.port}", ssl=server.context, proxy=None, max_size=None) as client:
        yield client
    client.transport.close()  # that of Python 3.10 warns otherwise, although the connection has ended


class Telling:
    """An application that keeps the scope of the WebSocket it accepts."""

    scope: dict[str, Any]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        await echo(scope, receive, send)


@pytest.mark.parametrize(
    ("http", "ws"), [("auto", "auto"), ("auto", "websockets"), ("auto", "wsproto"), ("h11", "auto")]
)
def test_messages(serve: Serve, http: str, ws: str) -> None:
    """Large ones come back whole, also to a client that reads them late."""
    if ws != "auto":
        pytest.importorskip(ws)
    server = serve(echo, http=http, ws=ws)

    async def talk() -> None:
        async with connected(server) as client:
            for size in (0, 125, 70_000, 3_000_000):
                await client.send(bytes(size))
                assert await client.recv() == bytes(size)
            await client.send("text")
            assert await client.recv() == "text"

    asyncio.run(asyncio.wait_for(talk(), TIMEOUT))


def test_several_frames_in_one_record(serve: Serve) -> None:
    with opened(serve(echo)) as client:
        client.send(binary(b"one") + binary(b"two"))
        assert [client.frame(), client.frame()] == [(BINARY, b"one"), (BINARY, b"two")]
        client.send(close(1000, "bye"))
        assert client.frames() == [closing(1000)]


def test_item_61_scope(serve: Serve) -> None:
    app = Telling()
    with opened(serve(app)) as client:
        client.send(close())
        assert client.frames() == [closing(1000)]
    assert app.scope["scheme"] == "wss"
    assert app.scope["extensions"].keys() == {"websocket.http.response", "fastserve.topics", "tls"}
    assert app.scope["extensions"]["tls"]["tls_version"] in (0x0303, 0x0304)


def test_stop(serve: Serve) -> None:
    server = serve(echo)
    with opened(server) as client:
        server.server.should_exit = True
        assert client.frame() == closing(1012)
        client.send(close(1012))
        assert client.rest() == b""
    server.join()


@pytest.mark.parametrize(("protocol", "scheme"), [("https", "wss"), ("http", "ws"), ("wss", "wss"), ("ftp", "ws")])
def test_what_a_trusted_proxy_says(protocol: str, scheme: str) -> None:
    app = Telling()
    server = support.serve(app, forwarded_allow_ips="127.0.0.1")
    try:
        with opened(server, "X-Forwarded-For: 192.0.2.1", f"X-Forwarded-Proto: {protocol}") as client:
            client.send(close())
            assert client.frames() == [closing(1000)]
    finally:
        server.stop()
    assert (app.scope["scheme"], app.scope["client"]) == (scheme, ("192.0.2.1", 0))


def test_what_another_client_says() -> None:
    app = Telling()
    server = support.serve(app, forwarded_allow_ips="192.0.2.9")
    try:
        with opened(server, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https") as client:
            client.send(close())
            assert client.frames() == [closing(1000)]
    finally:
        server.stop()
    assert (app.scope["scheme"], app.scope["client"][0]) == ("ws", "127.0.0.1")


@pytest.mark.parametrize("name", ["websockets_sansio_impl:WebSocketsSansIOProtocol", "wsproto_impl:WSProtocol"])
def test_left_to_a_class_on_uvicorns_contract(serve: Serve, name: str) -> None:
    server = serve(echo, ws=f"uvicorn.protocols.websockets.{name}")

    async def talk() -> None:
        async with connected(server) as client:
            for size in (0, 70_000, 3_000_000):
                await client.send(bytes(size))
                assert await client.recv() == bytes(size)
            server.server.should_exit = True
            with pytest.raises(ConnectionClosed) as caught:
                await client.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012

    asyncio.run(asyncio.wait_for(talk(), TIMEOUT))
    server.join()


@pytest.mark.parametrize(
    ("http", "ws"),
    [
        ("auto", "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"),
        ("h11", "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"),
        ("h11", "auto"),
    ],
)
def test_behind_a_response_that_is_not_written_yet(serve: Serve, http: str, ws: str) -> None:
    """The next owner of the connection writes after what it was given before, all of which arrives."""
    body = bytes(10_000_000)
    headers = [(b"content-length", str(len(body)).encode())]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            return await echo(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    with Socket(serve(app, http=http, ws=ws).connect(timeout=TIMEOUT)) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + upgrade())
        assert client.response().body == body
        assert client.file.readline().startswith(b"HTTP/1.1 101 ")
        while client.file.readline() != b"\r\n":
            pass
        client.send(binary(b"x"))
        assert client.frame() == (BINARY, b"x")
