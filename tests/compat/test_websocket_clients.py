"""Clients from PyPI against a WebSocket application without a framework, on each implementation."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Iterator

import aiohttp
import httpx
import httpx_ws
import pytest
from bridge import Bridge
from support import Command
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from .apps.websocket_app import PIECE, PIECES
from .conftest import TIMEOUT, LogMark, Start

SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000)


@pytest.fixture(scope="module", params=["auto", "websockets", "wsproto", "http2"])
def implementation(request: pytest.FixtureRequest) -> str:
    """That named "http2" is the core's, to which a bridge makes streams of HTTP/2 of the clients' connections."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(implementation: str, start: Start) -> Command:
    return start("websocket_app:app", "--ws", "auto" if implementation == "http2" else implementation)


@pytest.fixture(scope="module")
def url(implementation: str, server: Command) -> Iterator[str]:
    if implementation != "http2":
        yield server.url.replace("http", "ws", 1)
        return
    bridge = Bridge(server.port).start()
    yield f"ws://127.0.0.1:{bridge.port}"
    bridge.stop()


def texts() -> list[str]:
    chance = random.Random(13)
    return ["".join(chance.choices("aä€😀 ", k=size)) for size in SIZES]


class TestWebsockets:
    @pytest.mark.parametrize("compression", [None, "deflate"])
    def test_echo(self, url: str, compression: str | None) -> None:
        with connect(f"{url}/echo", compression=compression, proxy=None, max_size=None) as client:
            extensions = client.response.headers.get("Sec-WebSocket-Extensions", "") if client.response else ""
            assert ("permessage-deflate" in extensions) == bool(compression)
            for size in SIZES:
                payload = random.Random(size).randbytes(size // 2) + bytes(size - size // 2)
                client.send(payload)
                assert client.recv(TIMEOUT) == payload
            for text in texts():
                client.send(text)
                assert client.recv(TIMEOUT) == text

    @pytest.mark.parametrize("compression", [None, "deflate"])
    def test_a_message_in_fragments_with_a_ping_between(
        self, url: str, implementation: str, compression: str | None
    ) -> None:
        with connect(f"{url}/echo", compression=compression, proxy=None) as client:
            pongs = []

            def fragments() -> object:
                for piece in ("one ", "", "zwölf", " three"):
                    yield piece
                    pongs.append(client.ping())

            def echo() -> str | bytes:
                client.send(fragments())  # type: ignore[arg-type]
                return client.recv(TIMEOUT)

            if compression and implementation == "wsproto":
                # It takes the ping for the message's end, and the rest of the message for one that is not compressed.
                with pytest.raises(ConnectionClosedError):
                    echo()
                assert client.close_code == CloseCode.INVALID_DATA
                return
            assert echo() == "one zwölf three"
            assert all(pong.wait(TIMEOUT) for pong in pongs)

    def test_handshake(self, url: str, implementation: str) -> None:
        offered, origin = [Subprotocol("chat"), Subprotocol("soap")], Origin("https://example.org")
        with connect(f"{url}/about?q=%20", subprotocols=offered, origin=origin, proxy=None) as client:
            told = json.loads(client.recv(TIMEOUT))
            assert client.subprotocol == "soap"
            assert client.response is not None
            assert client.response.headers["x-from-the-application"] == "yes"
            assert client.response.headers.get_all("set-cookie") == ["a=1", "b=2"]
        assert told == {
            "scheme": "ws",
            "path": "/about",
            "query_string": "q=%20",
            "subprotocols": ["chat", "soap"],
            "http_version": "2" if implementation == "http2" else "1.1",
            "origin": "https://example.org",
            "client": "127.0.0.1",
        }

    def test_denial_response(self, url: str) -> None:
        with pytest.raises(InvalidStatus) as caught:
            connect(f"{url}/deny", proxy=None)
        response = caught.value.response
        assert (response.status_code, response.headers["x-why"], response.body) == (402, "not you", b"pay first")

    def test_rejection(self, url: str) -> None:
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"{url}/reject", proxy=None)

    def test_close_by_the_server(self, url: str) -> None:
        with connect(f"{url}/leave", proxy=None) as client:
            assert client.recv(TIMEOUT) == "that was all"
            with pytest.raises(ConnectionClosedError):
                client.recv(TIMEOUT)
            assert (client.close_code, client.close_reason) == (4002, "geschloßen")

    def test_close_by_the_client(self, url: str, server: Command) -> None:
        with connect(f"{url}/echo", proxy=None) as client:
            client.close(4321, "grüße")
            assert client.close_code == 4321
        server.wait_line("echo ended: 4321 'grüße'")

    def test_a_client_that_breaks_off(self, url: str, server: Command, log: LogMark) -> None:
        with connect(f"{url}/echo", proxy=None) as client:
            client.socket.shutdown(socket.SHUT_RDWR)
        server.wait_line("echo ended: 1006")
        assert log.count("Traceback") == 0

    def test_an_application_that_fails(self, url: str, server: Command) -> None:
        with connect(f"{url}/fail", proxy=None) as client:
            client.send("now")
            with pytest.raises(ConnectionClosedError):
                client.recv(TIMEOUT)
            assert client.close_code == CloseCode.INTERNAL_ERROR
        server.wait_line("RuntimeError: the application is broken")

    def test_a_server_that_sends_all_the_time(self, url: str) -> None:
        with connect(f"{url}/push", compression=None, proxy=None) as client:
            assert [message == PIECE for message in client] == [True] * PIECES
            assert client.close_code == CloseCode.NORMAL_CLOSURE

    def test_many_at_a_time(self, url: str) -> None:
        async def talk(number: int) -> None:
            async with connect_async(f"{url}/echo", proxy=None) as client:
                for round_ in range(10):
                    await client.send(f"{number} {round_}" * (1 + number * 7))
                for round_ in range(10):
                    assert await client.recv() == f"{number} {round_}" * (1 + number * 7)
                await (await client.ping())

        async def main() -> None:
            await asyncio.wait_for(asyncio.gather(*(talk(number) for number in range(50))), TIMEOUT)

        asyncio.run(main())


class TestAiohttp:
    @pytest.mark.parametrize("compress", [0, 15, 9])
    def test_echo_and_close(self, url: str, server: Command, compress: int) -> None:
        async def main() -> None:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{url}/echo", compress=compress, heartbeat=TIMEOUT, max_msg_size=0) as client,
            ):
                assert bool(client.compress) == bool(compress)
                for text in texts():
                    await client.send_str(text)
                    assert await client.receive_str() == text
                for size in SIZES:
                    await client.send_bytes(bytes(size))
                    assert await client.receive_bytes() == bytes(size)
                await client.close(code=4000 + compress, message=b"enough")
                assert client.close_code == 4000 + compress

        asyncio.run(asyncio.wait_for(main(), TIMEOUT))
        server.wait_line(f"echo ended: {4000 + compress} 'enough'")

    def test_subprotocol_and_close_by_the_server(self, url: str) -> None:
        async def main() -> None:
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(f"{url}/about", protocols=["a", "b"]) as client:
                    assert client.protocol == "b"
                    assert (await client.receive_json())["subprotocols"] == ["a", "b"]
                async with session.ws_connect(f"{url}/leave") as client:
                    assert await client.receive_str() == "that was all"
                    message = await client.receive()
                    assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4002, "geschloßen")

        asyncio.run(asyncio.wait_for(main(), TIMEOUT))

    def test_denial(self, url: str) -> None:
        async def main() -> int:
            async with aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    await session.ws_connect(f"{url}/deny")
                return caught.value.status

        assert asyncio.run(asyncio.wait_for(main(), TIMEOUT)) == 402


@pytest.mark.parametrize("client", ["http1"], indirect=True)  # it upgrades, which HTTP/2 has no word for
class TestHttpxWs:
    def test_echo(self, url: str, client: httpx.Client) -> None:
        session: httpx_ws.WebSocketSession
        with httpx_ws.connect_ws(f"{url}/echo", client, max_message_size_bytes=1 << 21) as session:
            for text in texts():
                session.send_text(text)
                assert session.receive_text(TIMEOUT) == text
            session.send_bytes(bytes(100_000))
            assert session.receive_bytes(TIMEOUT) == bytes(100_000)
            session.send_json({"a": ["ü"]})
            assert session.receive_json(TIMEOUT) == {"a": ["ü"]}

    def test_denial(self, url: str, client: httpx.Client) -> None:
        with pytest.raises(httpx_ws.WebSocketUpgradeError) as caught, httpx_ws.connect_ws(f"{url}/deny", client):
            pass
        assert (caught.value.response.status_code, caught.value.response.headers["x-why"]) == (402, "not you")

    def test_close_by_the_server(self, url: str, client: httpx.Client) -> None:
        session: httpx_ws.WebSocketSession
        with httpx_ws.connect_ws(f"{url}/leave", client) as session:
            assert session.receive_text(TIMEOUT) == "that was all"
            with pytest.raises(httpx_ws.WebSocketDisconnect) as caught:
                session.receive_text(TIMEOUT)
        assert (caught.value.code, caught.value.reason) == (4002, "geschloßen")
