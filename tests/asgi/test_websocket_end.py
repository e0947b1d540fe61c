"""The end of a WebSocket, items 48 to 51 of the ASGI checklist, and what the server itself reports by then."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from asgi.gates import Gate
from core.frames import FIN, PING, PONG, TEXT, frame, text
from ws import ACCEPTS, OVER_HTTP1, Clients, Raises, Script, close, closing, disconnect, sent, upgrade

from fastserve._core.errors import ClientDisconnected, SentAfterClose

Log = Callable[[], list[str]]


def reset(sock: socket.socket) -> None:
    """End the connection as one that breaks."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class TestEnd:
    @pytest.mark.parametrize(
        ("end", "expected"),
        [
            (close(1000), disconnect(1000)),
            (close(3999, "grüße"), disconnect(3999, "grüße")),
            (close(1001, "x" * 123), disconnect(1001, "x" * 123)),
            (close(None), disconnect(1005)),
            (b"", disconnect(1006)),
            (frame(FIN | 3), None),
        ],
    )
    def test_item_48_disconnect_has_code_and_reason(self, clients: Clients, end: bytes, expected: Any) -> None:
        """As often as it is asked for."""

        async def body(receive: Any, send: Any) -> None:
            for _ in range(3):
                await receive()

        app = Script(body)
        client = clients(app)
        client.open()
        client.send(end).end()
        client.rest()
        clients.stop()
        assert len(app.got) == 3 and app.got[0] == app.got[1] == app.got[2]
        if expected is not None:
            assert app.got[0] == expected
        else:
            assert (app.got[0]["type"], app.got[0]["code"]) == ("websocket.disconnect", 1002)

    def test_item_48_a_connection_that_breaks(self, clients: Clients) -> None:
        seen: asyncio.Queue[Any] = asyncio.Queue()
        ended = Gate()

        async def body(receive: Any, send: Any) -> None:
            for _ in range(3):
                seen.put_nowait(await receive())
            ended.open()

        client = clients(Script(body))
        client.open()
        client.send(text("first"))
        reset(client.sock)
        client.close()
        ended.future.result(60)
        assert [seen.get_nowait() for _ in range(3)][-2:] == [disconnect(1006)] * 2

    @pytest.mark.parametrize(
        ("message", "expected"),
        [
            ({}, closing(1000)),
            ({"code": 4999}, closing(4999)),
            ({"code": None}, closing(None)),
            ({"code": 1001, "reason": None}, closing(1001)),
            ({"reason": "ä" * 61}, closing(1000, "ä" * 61)),
        ],
    )
    def test_item_49_close(self, clients: Clients, message: Any, expected: Any) -> None:
        app = Raises({"type": "websocket.close", **message})
        client = clients(app)
        client.open()
        client.send(text("go"))
        assert client.frame() == expected
        client.send(close(1000))
        assert client.frames() == []
        assert app.errors == []

    @pytest.mark.parametrize("message", [{"reason": "x" * 124}, {"reason": "ä" * 62}, {"code": 1005}, {"code": 1016}])
    def test_item_49_what_no_close_frame_can_carry(self, clients: Clients, message: Any) -> None:
        app = Raises({"type": "websocket.close", **message}, sent("open"))
        client = clients(app)
        client.open()
        client.send(text("go"))
        assert client.frame() == (TEXT, b"open")
        clients.stop()
        assert app.kinds == [ValueError]

    @pytest.mark.parametrize("end", [close(), None], ids=["closes", "breaks off"])
    def test_item_50_send_after_the_client_has_left(self, clients: Clients, log: Log, end: bytes | None) -> None:
        """It raises an OSError, each time; not caught it is the end of the application, and no error of the server.

        A close does nothing once the client has closed.
        """
        errors: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send(ACCEPTS)
            await receive()
            for message in (sent("a"), {"type": "websocket.close"}):
                try:
                    await send(message)
                except OSError as error:
                    errors.append(type(error).__name__)
            await send(sent(b"b"))
            errors.append("none")

        raised = 1 if end else 2
        client = clients(app)
        client.open()
        if end is None:
            reset(client.sock)
            client.close()
        else:
            client.send(end).frames()
        clients.stop()
        assert errors == ["ClientDisconnected"] * raised
        assert log() == []

    def test_item_50_send_after_the_application_has_closed(self, clients: Clients, log: Log) -> None:
        app = Raises({"type": "websocket.close"}, sent("late"), {"type": "websocket.close"})
        client = clients(app)
        client.open()
        client.send(text("go"))
        assert client.frame() == closing(1000)
        client.send(close())
        assert client.frames() == []
        clients.stop()
        assert app.kinds == [SentAfterClose] * 2
        assert issubclass(SentAfterClose, ClientDisconnected)
        assert log() == []

    def test_item_51_an_application_that_raises(self, clients: Clients, caplog: pytest.LogCaptureFixture) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send(ACCEPTS)
            await receive()
            raise ZeroDivisionError("mine")

        client = clients(app)
        client.open()
        client.send(text("go"))
        assert client.frame() == closing(1011)
        client.send(close(1011))
        assert client.frames() == []
        clients.stop()
        assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == [
            "Exception in ASGI application\n"
        ]
        assert "ZeroDivisionError: mine" in caplog.text and "in app\n" in caplog.text

    def test_item_51_an_application_that_raises_before_it_answers(self, clients: Clients, log: Log) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise ZeroDivisionError("mine")

        found = clients(app).ask(upgrade())
        assert (found.status, found.body, found.closes) == (500, b"Internal Server Error", True)
        assert log() == ["ERROR Exception in ASGI application"]

    def test_item_51_an_application_that_returns(self, clients: Clients, log: Log) -> None:
        """Its WebSocket is closed; before a response, that is an error of its own."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/accepts":
                await send(ACCEPTS)

        client = clients(app)
        client.open("/accepts")
        assert client.frame() == closing(1011)  # which clients reconnect after
        client.send(close())
        assert client.frames() == []
        assert log() == []
        assert clients().ask(upgrade()).status == 500
        assert log() == ["ERROR ASGI callable returned without completing handshake."]


class TestStop:
    """The server stops: code 1012 (RFC 6455 section 7.4.2)."""

    def test_the_close_handshake_is_waited_for(self, clients: Clients, log: Log) -> None:
        app, answers = Script(), Script()

        async def both(scope: Any, receive: Any, send: Any) -> None:
            await (answers if scope["path"] == "/answers" else app)(scope, receive, send)

        client = clients(both)
        client.open()
        other = clients()
        other.open("/answers")
        clients.running.server.should_exit = True
        for each in (other, client):
            assert each.frame() == closing(1012)
        other.send(close(1012))
        assert other.frames() == []
        # The other's end shows that the server has had the time to end this one.
        client.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.sock.recv(1)
        client.sock.settimeout(60)
        assert client.send(text("late") + frame(FIN | PING, b"late")).send(close(1012)).frames() in (
            [],
            [(PONG, b"late")],
        )
        clients.stop()
        assert app.got == answers.got == [disconnect(1012)]
        assert log() == []

    def test_not_for_longer_than_the_grace_period(self, clients: Clients, log: Log) -> None:
        app = Script()
        client = clients(app, timeout_graceful_shutdown=0.05)
        client.open()
        clients.running.server.should_exit = True
        assert client.frames() == [closing(1012)]
        clients.running.join()
        assert app.got == [disconnect(1012)]
        assert log() == []

    def test_an_application_that_goes_on(self, clients: Clients) -> None:
        """It is waited for as other work is."""
        gate, done = Gate(), []

        async def body(receive: Any, send: Any) -> None:
            done.append(await receive())
            await gate.wait()
            done.append("cleaned up")

        client = clients(Script(body))
        client.open()
        clients.running.server.should_exit = True
        assert client.frame() == closing(1012)
        client.send(close(1012)).frames()
        gate.open()
        clients.stop()
        assert done == [disconnect(1012), "cleaned up"]

    def test_an_application_that_never_ends(self, clients: Clients, log: Log) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(ACCEPTS)
            await asyncio.Event().wait()

        client = clients(app, timeout_graceful_shutdown=0.05)
        client.open()
        clients.running.server.should_exit = True
        assert client.frame() == closing(1012)
        client.send(close(1012)).frames()
        clients.stop()
        lines = log()
        assert lines[0] == "ERROR Cancel 1 running task(s), timeout graceful shutdown exceeded"
        assert "await asyncio.Event().wait()" in lines[1]

    def test_a_handshake_without_an_answer_is_denied(self, clients: Clients) -> None:
        connected = Gate()
        got: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            connected.open()
            got.append(await receive())

        client = clients(app)
        client.send(upgrade())
        connected.future.result(60)
        clients.running.server.should_exit = True
        found = client.response()
        assert (found.status, found.closes) == (503, True)
        clients.stop()
        assert got == [disconnect(1012)]


DEFAULTS = [("X-Own", "1"), ("x-own", "2")]
DENIAL = "websocket.http.response"


class TestAround:
    """What holds for a handshake as for any request."""

    @staticmethod
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/close":
            await send({"type": "websocket.close"})
        elif scope["path"] == "/deny":
            await send({"type": f"{DENIAL}.start", "status": 401})
            await send({"type": f"{DENIAL}.body"})
        else:
            await send(ACCEPTS)
            await receive()

    @pytest.mark.parametrize("clients", OVER_HTTP1, indirect=True)
    @pytest.mark.parametrize("default", [True, False])
    def test_default_headers(self, clients: Clients, default: bool) -> None:
        clients(self.app, headers=DEFAULTS if default else [], server_header=default, date_header=default)
        for path, status in (("/", 101), ("/close", 403), ("/deny", 401)):
            found = clients().ask(upgrade(path))
            assert found.status == status
            assert found.get(b"server") == (b"fastserve" if default else None)
            assert (found.get(b"date") is not None) == default
            assert found.all(b"x-own") == ([b"1", b"2"] if default else [])
        found = clients().ask(upgrade(version="12"))
        assert (found.status, found.all(b"x-own")) == (426, [b"1", b"2"] if default else [])

    @pytest.mark.parametrize("clients", OVER_HTTP1, indirect=True)
    def test_the_concurrency_limit(self, clients: Clients, log: Log) -> None:
        client = clients(self.app, limit_concurrency=2)
        client.open()
        found = clients().ask(upgrade())
        assert (found.status, found.get(b"retry-after"), found.closes) == (503, b"1", True)
        assert log() == ["WARNING Exceeded concurrency limit."]
        client.send(close())
        assert client.frames() == [closing(1000)]
        clients().open()

    def test_it_counts_as_a_request(self, clients: Clients) -> None:
        clients(self.app).open()
        clients().ask(upgrade("/close"))
        assert clients.running.server.server_state.total_requests == 2

    @pytest.mark.parametrize("clients", OVER_HTTP1, indirect=True)
    def test_log_lines(self, clients: Clients, caplog: pytest.LogCaptureFixture) -> None:
        """In the general log, at the info level; the access log has none."""
        caplog.set_level(logging.INFO)
        client = clients(self.app)
        addresses = []
        client.open("/a%20b/%C3%A4/%0a?q=%0a&x")
        addresses.append(client.sock.getsockname())
        client.send(close())
        client.frames()
        for path in ("/close", "/deny"):
            client = clients()
            addresses.append(client.sock.getsockname())
            client.ask(upgrade(path))
        clients.stop()
        lines = [each.getMessage() for each in caplog.records if each.name == "fastserve.error"]
        peers = [f"{host}:{port}" for host, port in addresses]
        found = [line for line in lines if "WebSocket" in line or line.startswith("connection")]
        expected = [
            f'{peers[0]} - "WebSocket /a%20b/%C3%A4/%0A?q=%0a&x" [accepted]',
            "connection open",
            "connection closed",
            f'{peers[1]} - "WebSocket /close" 403',
            "connection rejected (403 Forbidden)",
            f'{peers[2]} - "WebSocket /deny" 401',
            "connection rejected (401 Unauthorized)",
        ]
        if clients.implementation == "wsproto":
            expected = [line for line in expected if not line.startswith("connection")]
        assert found == expected
        assert [each for each in caplog.records if each.name == "fastserve.access"] == []
