"""The handshake of WebSockets over HTTP/2 (RFC 8441): who offers it, what is refused, and what the log says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from core.extended_connect import WEBSOCKET, Fields, changed, exchange, frames, opened, opening, without
from core.frames import TEXT, text
from fakes.http2 import ENABLE_CONNECT_PROTOCOL, PROTOCOL_ERROR, SETTINGS, Http2Client, data, headers, rst_stream
from fakes.worker import FakeWorker, respond
from ws import Script, close, disconnect, echo

Work = Callable[..., FakeWorker]
GONE = disconnect(1006)


class TestSetting:
    """Section 3: only who serves them says so, for a browser whose CONNECT fails does not try HTTP/1.1."""

    def offered(self, client: Http2Client) -> bytes | None:
        first = next(each for each in client.heard if each.type == SETTINGS)
        pairs = [first.payload[at : at + 6] for at in range(0, len(first.payload), 6)]
        return next((pair[2:] for pair in pairs if pair[:2] == bytes([0, ENABLE_CONNECT_PROTOCOL])), None)

    def test_is_sent(self, work: Work) -> None:
        assert self.offered(Http2Client(work(echo))) == bytes([0, 0, 0, 1])

    @pytest.mark.parametrize(
        "options", [{"websocket": False}, {"framing": lambda *_: None}, {"ws_protocol": lambda: None}]
    )
    def test_is_not_sent_where_something_else_serves_them(self, work: Work, options: dict[str, Any]) -> None:
        called = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            called.append(scope["type"])
            await respond(send)

        client = Http2Client(work(app, **options))
        assert self.offered(client) is None
        client.send(opening())
        assert client.replies[1].reset == PROTOCOL_ERROR
        assert client.ask(3).status == 200
        assert called == ["http"]


class TestHandshake:
    def seen(self, work: Work, *fields: tuple[str, str], extra: Any = None, **options: Any) -> dict[str, Any]:
        app = Script()
        client = Http2Client(work(app, **options), **(extra or {}))
        client.send(opening(1, *fields))
        assert client.replies[1].status == 200
        return app.scope

    def test_scope(self, work: Work) -> None:
        scope = self.seen(
            work,
            ("sec-websocket-protocol", "one, two"),
            ("sec-websocket-protocol", "three"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        )
        assert scope == {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "2",
            "scheme": "ws",
            "path": "/chat",
            "raw_path": b"/chat",
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"a"),
                (b"sec-websocket-version", b"13"),
                (b"sec-websocket-protocol", b"one, two"),
                (b"sec-websocket-protocol", b"three"),
                (b"cookie", b"a=1; b=2"),
            ],
            "client": ("10.0.0.1", 1234),
            "server": ("10.0.0.2", 80),
            "subprotocols": ["one", "two", "three"],
            "state": {},
            "extensions": {"websocket.http.response": {}, "fastserve.topics": {}},
        }

    def test_path_and_root_path(self, work: Work) -> None:
        app = Script()
        client = Http2Client(work(app, root_path="/root"))
        client.send(headers(1, changed(":path", "/a%20b?c=%20"), end=False))
        scope = app.scope
        assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/root", "/root/a b", b"/root/a%20b")
        assert scope["query_string"] == b"c=%20"

    def test_over_tls(self, work: Work, encrypted: dict[str, Any]) -> None:
        assert self.seen(work, extra=encrypted)["scheme"] == "wss"

    def test_behind_a_proxy(self, work: Work) -> None:
        from fastserve._core.http.proxies import Proxies
        from fastserve.middleware import proxy_headers

        proxies = Proxies(proxy_headers.TrustedHosts("*"), proxy_headers.scheme_of)
        fields = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")]
        scope = self.seen(work, *fields, proxies=proxies)
        assert (scope["client"][0], scope["scheme"]) == ("192.0.2.1", "wss")

    def test_response(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            fields = [(b"X-One", b" 1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-length", b"5")]
            await send({"type": "websocket.accept", "subprotocol": "two", "headers": fields})
            await receive()

        client = Http2Client(work(app))
        client.send(
            opening(
                1,
                ("sec-websocket-protocol", "one, two"),
                ("sec-websocket-extensions", "permessage-deflate"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            )
        )
        head = client.replies[1].heads[0]
        assert [field for field in head if field[0] not in ("date", "server")] == [
            (":status", "200"),
            ("x-one", "1"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("sec-websocket-protocol", "two"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ]
        assert not client.replies[1].ended

    @pytest.mark.parametrize(
        ("message", "error"),
        [
            ({"subprotocol": "other,one"}, ValueError),
            ({"subprotocol": 5}, TypeError),
            ({"headers": [(b"a b", b"x")]}, ValueError),
            ({"headers": [(b"a", b"x\ny")]}, ValueError),
            ({"headers": [(b"a", 5)]}, TypeError),
        ],
    )
    def test_what_cannot_be_accepted_with(self, work: Work, message: dict[str, Any], error: type[Exception]) -> None:
        """As over HTTP/1.1: nothing is written, and the application may accept otherwise."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            with pytest.raises(error):
                await send({"type": "websocket.accept", **message})
            await send({"type": "websocket.accept"})
            await receive()

        opened(work(app))

    @pytest.mark.parametrize("name", [":method", ":scheme", ":path", ":authority"])
    def test_without_a_pseudo_header(self, work: Work, name: str) -> None:
        client = Http2Client(work(echo))
        client.send(headers(1, without(name), end=False))
        assert client.replies[1].reset == PROTOCOL_ERROR
        assert not client.closed

    def test_protocol_of_another_method(self, work: Work) -> None:
        client = Http2Client(work(echo))
        client.send(headers(1, changed(":method", "GET")))
        assert client.replies[1].reset == PROTOCOL_ERROR

    @pytest.mark.parametrize(
        "fields", [changed(":protocol", "connect-udp"), [(":method", "CONNECT"), (":authority", "a:1")]]
    )
    def test_another_connect(self, work: Work, fields: Fields) -> None:
        client = Http2Client(work(echo))
        client.send(headers(1, fields, end=False))
        assert (client.replies[1].status, client.replies[1].ended) == (501, True)

    def test_protocol_in_capitals(self, work: Work) -> None:
        client = Http2Client(work(echo))
        client.send(headers(1, changed(":protocol", "WebSocket"), end=False))
        assert client.replies[1].status == 200

    @pytest.mark.parametrize(
        "fields",
        [
            without("sec-websocket-version"),
            changed("sec-websocket-version", "8"),
            [*WEBSOCKET, ("sec-websocket-version", "13")],
            changed(":scheme", "ws"),
            [*WEBSOCKET, ("content-length", "0")],
            [*WEBSOCKET, ("content-length", "5")],
            [*WEBSOCKET, ("sec-websocket-protocol", "a b")],
            [*WEBSOCKET, ("sec-websocket-extensions", "permessage-deflate; =")],
            [*WEBSOCKET, ("host", "another")],
        ],
    )
    def test_refused(self, work: Work, fields: Fields) -> None:
        client = Http2Client(work(echo))
        client.send(headers(1, fields, end=False))
        reply = client.replies[1]
        assert (reply.status, reply.ended) == (400, True)
        wrong_version = dict(fields).get("sec-websocket-version") != "13"
        assert reply.head.get("sec-websocket-version") == ("13" if wrong_version else None)
        client.send(opening(3))
        assert client.replies[3].status == 200

    def test_refused_when_it_ends_at_once(self, work: Work) -> None:
        assert Http2Client(work(echo)).ask(1, WEBSOCKET).status == 400

    def test_refused_beyond_the_limit(self, work: Work) -> None:
        wire = work(echo, limit_concurrency=2)
        client = opened(wire)
        client.send(opening(3))
        assert client.replies[3].status == 200
        client.send(opening(5))
        assert (client.replies[5].status, client.replies[5].head["retry-after"]) == (503, "1")
        assert wire.messages[-2:] == [
            '10.0.0.1:1234 - "WebSocket /chat" 503',
            "connection rejected (503 Service Unavailable)",
        ]

    def test_denied(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.close"})

        wire = work(app)
        client = Http2Client(wire)
        client.send(opening())
        reply = client.replies[1]
        assert (reply.status, reply.body, reply.ended) == (403, b"Forbidden", True)
        assert wire.messages == ['10.0.0.1:1234 - "WebSocket /chat" 403', "connection rejected (403 Forbidden)"]

    def test_denied_with_a_response(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            head = {
                "type": "websocket.http.response.start",
                "status": 401,
                "headers": [(b"www-authenticate", b"Basic")],
            }
            await send(head)
            await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"are you?"})

        wire = work(app)
        client = Http2Client(wire)
        client.send(opening(), data(1, text("too early")))
        reply = client.replies[1]
        assert (reply.status, reply.head["www-authenticate"], reply.body) == (401, "Basic", b"who are you?")
        assert reply.ended
        assert wire.messages == ['10.0.0.1:1234 - "WebSocket /chat" 401', "connection rejected (401 Unauthorized)"]

    def test_the_application_ends_first(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()

        client = Http2Client(work(app))
        client.send(opening())
        assert (client.replies[1].status, client.replies[1].ended) == (500, True)

    def test_log(self, work: Work) -> None:
        wire = work(echo)
        client = opened(wire)
        exchange(client, close())
        client.send(data(1, end=True))
        assert wire.messages == ['10.0.0.1:1234 - "WebSocket /chat" [accepted]', "connection open", "connection closed"]

    def test_messages_before_it_is_accepted(self, work: Work) -> None:
        go_on = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await go_on.wait()
            await echo(scope, receive, send)

        client = Http2Client(wire := work(app))
        client.send(opening(), data(1, text("one") + text("two")[:3]), data(1, text("two")[3:]))
        assert 1 not in client.replies
        wire.call(go_on.set)
        assert frames(client) == [(TEXT, b"one"), (TEXT, b"two")]

    def test_the_client_leaves_before_it_is_accepted(self, work: Work) -> None:
        got: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            got.extend([await receive(), await receive()])
            with pytest.raises(OSError, match="gone"):
                await send({"type": "websocket.accept"})

        for last in (rst_stream(1), data(1, end=True)):
            got.clear()
            client = Http2Client(work(app))
            client.send(opening(), last)
            assert got == [{"type": "websocket.connect"}, GONE]
