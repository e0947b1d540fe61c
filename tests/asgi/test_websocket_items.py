"""The WebSocket items of the ASGI checklist (41 to 53; 48 to 51 are in test_websocket_end.py), by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgi.gates import Gate
from core.frames import BINARY, CLOSE, FIN, PING, PONG, TEXT, binary, fragments, frame, text
from fakes.worker import FakeWorker
from protocol.wire import Response
from ws import (
    ACCEPT,
    ACCEPTS,
    CONNECT,
    OVER_HTTP1,
    Clients,
    Raises,
    Script,
    close,
    disconnect,
    echo,
    received,
    sent,
    upgrade,
)

from fastserve._core.errors import ClientDisconnected

Log = Callable[[], list[str]]


class TestScope:
    @pytest.mark.parametrize("clients", OVER_HTTP1, indirect=True)
    def test_item_41_scope(self, clients: Clients) -> None:
        app = Script()
        client = clients(app, root_path="/r")
        client.open("/a%20b/%C3%A4?c=%20d", "X-One: 1", "X-ONE: 2", "Origin: http://o", "Sec-WebSocket-Protocol: a, b")
        host, port = client.sock.getsockname()
        assert app.scope == {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/r/a b/ä",
            "raw_path": b"/r/a%20b/%C3%A4",
            "query_string": b"c=%20d",
            "root_path": "/r",
            "headers": [
                (b"host", b"x"),
                (b"connection", b"Upgrade"),
                (b"upgrade", b"websocket"),
                (b"sec-websocket-version", b"13"),
                (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
                (b"x-one", b"1"),
                (b"x-one", b"2"),
                (b"origin", b"http://o"),
                (b"sec-websocket-protocol", b"a, b"),
            ],
            "client": (host, port),
            "server": ("127.0.0.1", clients.running.port),
            "subprotocols": ["a", "b"],
            "state": {},
            "extensions": {"websocket.http.response": {}, "fastserve.topics": {}},
        }

    @pytest.mark.parametrize(
        ("fields", "found"),
        [
            ([], []),
            (["Sec-WebSocket-Protocol: only"], ["only"]),
            (["Sec-WebSocket-Protocol: c ,\tb,a", "Sec-WebSocket-Protocol: a"], ["c", "b", "a", "a"]),
            (["Sec-WebSocket-Protocol: a,, b,", "Sec-WebSocket-Protocol: , c"], ["a", "b", "c"]),
        ],
    )
    def test_item_41_subprotocols(self, clients: Clients, fields: list[str], found: list[str]) -> None:
        app = Script()
        clients(app).open("/", *fields)
        assert app.scope["subprotocols"] == found

    def test_item_41_wss(self) -> None:
        """Of a transport that is encrypted; the test of TLS has the real one."""
        app = Script()
        wire = FakeWorker(app)
        wire.connect(sslcontext=object()).feed(upgrade())
        assert app.scope["scheme"] == "wss"
        wire.close()

    def test_item_41_state(self, clients: Clients) -> None:
        """A shallow copy of the lifespan's state for each WebSocket."""
        seen: list[Any] = []
        shared: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                scope["state"].update(shared=shared, own="lifespan")
                for event in ("startup", "shutdown"):
                    await receive()
                    await send({"type": f"lifespan.{event}.complete"})
                return
            seen.append(dict(scope["state"]))
            scope["state"]["own"] = "websocket"
            scope["state"]["shared"].append(scope["path"])
            await echo(scope, receive, send)

        clients(app, lifespan="on").open("/1")
        clients().open("/2")
        assert seen == [{"shared": shared, "own": "lifespan"}] * 2
        assert shared == ["/1", "/2"]


class TestHandshake:
    def test_item_42_nothing_is_answered_before_the_application_does(self, clients: Clients) -> None:
        gate = Gate()
        got: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            got.append(await receive())
            if scope["path"] == "/waits":
                await gate.wait()
            await send(ACCEPTS)
            await receive()

        client = clients(app)
        client.send(upgrade("/waits"))
        clients().open("/does-not")  # it came after the other, so that one has been dealt with
        assert got == [CONNECT, CONNECT]
        client.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.sock.recv(1)
        client.sock.settimeout(60)
        gate.open()
        assert client.response().status == 101

    def test_item_42_connect_comes_once(self, clients: Clients) -> None:
        app = Script()
        client = clients(app)
        client.open()
        client.send(text("a") + close())
        client.frames()
        clients.stop()
        assert app.got == [received("a"), disconnect(1000)]  # Script has had websocket.connect before

    @pytest.mark.parametrize("clients", OVER_HTTP1, indirect=True)
    def test_item_43_accept(self, clients: Clients) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            headers = [(b"X-A", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
            await send({"type": "websocket.accept", "subprotocol": "b", "headers": headers})
            await receive()

        found = clients(app).open("/", "Sec-WebSocket-Protocol: a, b")
        assert found.reason == b"Switching Protocols"
        names = [name for name, _ in found.headers if name not in (b"date", b"server", b"sec-websocket-extensions")]
        assert names == [b"x-a", b"set-cookie", b"set-cookie", b"upgrade", b"connection", b"sec-websocket-accept",
                         b"sec-websocket-protocol"]  # fmt: skip
        assert found.get(b"sec-websocket-accept") == ACCEPT
        assert found.get(b"sec-websocket-protocol") == b"b"
        assert found.all(b"set-cookie") == [b"a=1", b"b=2"]

    @pytest.mark.parametrize("subprotocol", [None, "b"])
    def test_item_43_the_handshakes_own_headers(self, clients: Clients, subprotocol: str | None) -> None:
        """A proxy passes on those of its upstream: the subprotocol is one, and the others are this server's."""
        upstream = {"Sec-WebSocket-Protocol": b"a", "connection": b"upgrade", "Upgrade": b"websocket",
                    "sec-websocket-accept": b"x", "Sec-WebSocket-Extensions": b"permessage-bzip"}  # fmt: skip
        headers = [(name.encode(), value) for name, value in upstream.items()]
        app = Raises(first={**ACCEPTS, "headers": headers, "subprotocol": subprotocol})
        found = clients(app).open("/", "Sec-WebSocket-Protocol: a, b")
        assert found.all(b"sec-websocket-protocol") == [(subprotocol or "a").encode()]
        assert found.all(b"sec-websocket-accept") in ([ACCEPT], [])
        assert b"permessage-bzip" not in found.all(b"sec-websocket-extensions")

    @pytest.mark.parametrize("subprotocol", ["c d", "c\r\nx: y", "\xe4"])
    def test_item_43_no_subprotocol_that_is_not_a_token(self, clients: Clients, subprotocol: str) -> None:
        client = clients(Raises(first={**ACCEPTS, "subprotocol": subprotocol}))
        assert client.ask(upgrade("/", "Sec-WebSocket-Protocol: a, b")).status == 500

    @pytest.mark.parametrize("clients", OVER_HTTP1, indirect=True)
    def test_item_44_close_denies(self, clients: Clients, log: Log) -> None:
        got: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            got.append(await receive())
            await send({"type": "websocket.close", "code": 4000, "reason": "not you"})
            got.extend([await receive(), await receive()])

        client = clients(app)
        found = client.ask(upgrade())
        assert (found.status, found.reason, found.body, found.closes) == (403, b"Forbidden", b"Forbidden", True)
        assert client.rest() == b""
        clients.stop()
        assert got == [CONNECT, disconnect(1006), disconnect(1006)]
        assert log() == []

    def test_item_53_messages_before_accept_are_kept(self, clients: Clients) -> None:
        """In the packet of the handshake, and in others before the response; and the end after them."""
        gate = Gate()
        got: list[Any] = []
        connected = Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            connected.open()
            await gate.wait()
            await send(ACCEPTS)
            while not got or got[-1]["type"] == "websocket.receive":
                got.append(await receive())

        client = clients(app)
        client.send(upgrade() + text("1") + frame(TEXT, b"2"))
        connected.future.result(60)
        client.send(frame(FIN, b"3") + binary(b"4")).send(text("5")).send(close(3000, "bye"))
        gate.open()
        assert client.response().status == 101
        (frame_,) = client.frames()
        assert frame_[0] == CLOSE
        clients.stop()
        assert got == [received("1"), received("23"), received(b"4"), received("5"), disconnect(3000, "bye")]


def denied(clients: Clients, *messages: dict[str, Any]) -> Response:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "websocket.http.response" in scope["extensions"]
        await receive()
        for message in messages:
            await send({**message, "type": f"websocket.http.response.{message['type']}"})

    client = clients(app)
    found = client.ask(upgrade())
    assert client.rest() == b""
    return found


class TestDenialResponse:
    """The extension websocket.http.response, item 64."""

    def test_item_64_in_one_piece(self, clients: Clients) -> None:
        headers = [(b"X-Why", b"a"), (b"x-why", b"b")]
        found = denied(
            clients, {"type": "start", "status": 401, "headers": headers}, {"type": "body", "body": b"who are you?"}
        )
        assert (found.status, found.body, found.closes) == (401, b"who are you?", True)
        assert found.get(b"content-length") == b"12"
        assert found.all(b"x-why") == [b"a", b"b"]

    @pytest.mark.parametrize("clients", OVER_HTTP1, indirect=True)
    def test_item_64_in_pieces(self, clients: Clients) -> None:
        pieces = [{"type": "body", "body": piece, "more_body": True} for piece in (b"a", b"", None, b"b")]
        found = denied(clients, {"type": "start", "status": 404}, *pieces, {"type": "body"})
        assert (found.status, found.body, found.get(b"transfer-encoding")) == (404, b"ab", b"chunked")

    @pytest.mark.parametrize("clients", OVER_HTTP1, indirect=True)
    @pytest.mark.parametrize("behind", ["websocket.accept", "websocket.close", "websocket.http.response.start"])
    def test_item_64_nothing_else_may_follow(self, clients: Clients, behind: str) -> None:
        app = Raises({"type": behind, "status": 200}, first={"type": "websocket.http.response.start", "status": 404})
        client = clients(app)
        client.send(upgrade()).end()
        assert client.response().status == 500  # never completed
        clients.stop()
        ((kind, message),) = app.errors
        assert kind is RuntimeError or kind is ClientDisconnected, message


class TestMessages:
    def test_item_45_whole_messages_of_one_kind(self, clients: Clients) -> None:
        app = Script()
        client = clients(app)
        client.open()
        client.send(text("grün") + binary(b"\0\xff") + text("") + binary(b""))
        client.send(fragments(TEXT, b"gr", "ü".encode()[:1], "ü".encode()[1:], b"n") + fragments(BINARY, b"", b"a"))
        client.send(close())
        client.frames()
        clients.stop()
        assert app.got == [
            received("grün"),
            received(b"\0\xff"),
            received(""),
            received(b""),
            received("grün"),
            received(b"a"),
            disconnect(1000),
        ]

    def test_item_46_pings_are_answered(self, clients: Clients) -> None:
        client = clients(echo)
        client.open()
        client.send(frame(FIN | PING, b"one") + text("a") + frame(FIN | PING) + frame(FIN | PONG, b"unasked"))
        found = [client.frame() for _ in range(3)]
        assert sorted(map(str, found)) == sorted(map(str, [(PONG, b"one"), (TEXT, b"a"), (PONG, b"")]))
        assert found.index((PONG, b"one")) < found.index((PONG, b""))

    def test_item_46_the_server_pings(self, clients: Clients) -> None:
        client = clients(echo, ws_ping_interval=0.02, ws_ping_timeout=60)
        client.open()
        for _ in range(3):
            found = client.frame()
            assert found is not None and found[0] == PING
            client.send(frame(FIN | PONG, found[1]))

    def test_item_47_text_or_bytes(self, clients: Clients) -> None:
        """Of both the bytes are sent, and of neither nothing, as by uvicorn."""
        kind = {"type": "websocket.send"}
        app = Raises(
            {**kind, "text": "a"}, {**kind, "bytes": b"b"}, {**kind, "text": "c", "bytes": None},
            {**kind, "text": None, "bytes": b"d"}, {**kind, "bytes": bytearray(b"e"), "other": 1},
            kind, {**kind, "text": None, "bytes": None}, {**kind, "text": "a", "bytes": b"b"},
            {**kind, "text": 5, "bytes": b""},
            {**kind, "text": b"a"}, {**kind, "bytes": "a"}, {**kind, "text": "\ud800"},
            ACCEPTS, {"type": "websocket.nothing"}, {"text": "no type"}, sent("last"),
        )  # fmt: skip
        client = clients(app)
        client.open()
        client.send(text("go"))
        frames = [client.frame() for _ in range(8)]
        assert frames == [
            (TEXT, b"a"), (BINARY, b"b"), (TEXT, b"c"), (BINARY, b"d"), (BINARY, b"e"),
            (BINARY, b"b"), (BINARY, b""), (TEXT, b"last"),
        ]  # fmt: skip
        clients.stop()
        assert app.kinds == [
            TypeError, TypeError, UnicodeEncodeError, RuntimeError, RuntimeError, KeyError,
        ]  # fmt: skip


class TestProtocol:
    """All of RFC 6455 is in tests/protocol/test_rfc6455.py."""

    @pytest.mark.parametrize("clients", OVER_HTTP1, indirect=True)
    def test_item_52_bad_handshakes(self, clients: Clients) -> None:
        clients(echo).open()
        for request, status, field in (
            (upgrade(version="8"), 426, (b"sec-websocket-version", b"13")),
            (upgrade(version=None), 426, (b"upgrade", b"websocket")),
            (upgrade(method="POST"), 405, (b"allow", b"GET")),
            (upgrade(key=None), 400, (b"connection", b"close")),
        ):
            found = clients().ask(request)
            assert found.status == status
            assert field in found.headers

    def test_item_52_bad_frames(self, clients: Clients) -> None:
        clients(echo, ws_max_size=1000).open()
        for data, code in (
            (text(b"\xff"), 1007),
            (binary(b"x" * 1001), 1009),
            (frame(FIN | TEXT, b"x", key=None), 1002),
            (frame(FIN | 0x20 | TEXT, b"x"), 1002),
            (frame(FIN | PING, b"x" * 126), 1002),
            (frame(PING), 1002),
        ):
            client = clients()
            client.open()
            ((opcode, payload),) = client.send(data).frames()
            assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2, "big")), data
