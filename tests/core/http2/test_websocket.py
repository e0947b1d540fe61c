"""WebSockets over HTTP/2 (RFC 8441): the handshake, and what a stream is to a WebSocket.

What a WebSocket does with bytes, whatever carries them, is in core/websocket; those tests run over HTTP/2 too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import BINARY, CLOSE, FIN, PING, PONG, TEXT, binary, frame, text
from fakes.http2 import (
    CANCEL,
    DATA,
    ENABLE_CONNECT_PROTOCOL,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    Http2Client,
    data,
    headers,
    ping,
    rst_stream,
    settings,
    window_update,
)
from fakes.worker import TIME, FakeWorker, respond
from ws import Script, close, closing, disconnect, echo, read_frames, received, sent

Work = Callable[..., FakeWorker]
Fields = list[tuple[str, str]]

WEBSOCKET: Fields = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat"),
    (":authority", "a"),
    ("sec-websocket-version", "13"),
]
FIRST_WINDOW = 65535
GONE = disconnect(1006)


def changed(name: str, value: str | None) -> Fields:
    """The handshake with another value of a field, or without it."""
    return [(each, value if each == name else old) for each, old in WEBSOCKET if each != name or value is not None]  # type: ignore[misc]


def without(name: str) -> Fields:
    return changed(name, None)


def opening(stream: int = 1, *fields: tuple[str, str]) -> bytes:
    return headers(stream, [*WEBSOCKET, *fields], end=False)


def opened(wire: FakeWorker, *pairs: tuple[int, int], stream: int = 1) -> Http2Client:
    """A client whose WebSocket is open."""
    client = Http2Client(wire, *pairs)
    client.send(opening(stream))
    assert client.replies[stream].status == 200
    return client


def frames(client: Http2Client, stream: int = 1) -> list[tuple[int, bytes]]:
    """What has come on a stream since the last call."""
    client.hear()
    reply = client.replies[stream]
    taken, reply.body = reply.body, b""
    return read_frames(taken)


def exchange(client: Http2Client, payload: bytes, stream: int = 1) -> list[tuple[int, bytes]]:
    client.send(data(stream, payload))
    return frames(client, stream)


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


class TestStream:
    def test_beside_others(self, work: Work) -> None:
        """Two WebSockets and a request share a connection, and the write of a turn."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "websocket":
                await echo(scope, receive, send)
            else:
                await respond(send, b"hello")

        client = opened(work(app))
        client.send(opening(3))
        client.peer.transport.writes.clear()
        client.peer.put(data(1, text("a")) + data(3, text("b")) + headers(5) + data(1, text("c")))
        client.wire.settle()
        assert len(client.peer.transport.writes) == 1
        assert frames(client) == [(TEXT, b"a"), (TEXT, b"c")]
        assert frames(client, 3) == [(TEXT, b"b")]
        assert client.replies[5].body == b"hello"

    def test_messages_of_a_turn_are_one_frame(self, work: Work) -> None:
        async def burst(receive: Any, send: Any) -> None:
            for number in range(10):
                await send(sent(str(number)))
            await receive()

        client = opened(work(Script(burst)))
        assert [each.payload for each in client.heard if each.type == DATA] == [
            b"".join(b"\x81\x01%d" % number for number in range(10))
        ]

    @pytest.mark.parametrize("size", [16_000, 20_000, 40_000, 300_000])
    def test_large_ones(self, work: Work, size: int) -> None:
        client = opened(work(echo), (INITIAL_WINDOW_SIZE, 1 << 20))
        client.send(window_update(0, 1 << 20))
        payload, raw = bytes(size), binary(bytes(size))
        for at in range(0, len(raw), 16_384):
            client.send(data(1, raw[at : at + 16_384]))
        assert frames(client) == [(BINARY, payload)]

    def test_bytes_one_by_one_and_padding(self, work: Work) -> None:
        client = opened(work(echo))
        raw = text("one") + binary(b"two")
        client.send(*(data(1, raw[at : at + 1]) for at in range(len(raw))))
        assert frames(client) == [(TEXT, b"one"), (BINARY, b"two")]
        client.send(data(1, text("padded"), pad=100))
        assert frames(client) == [(TEXT, b"padded")]

    def test_no_content_length_and_no_limit_of_a_body(self, work: Work) -> None:
        client = opened(work(echo, limit_request_body=100))
        for _ in range(10):
            assert exchange(client, binary(bytes(90))) == [(BINARY, bytes(90))]

    @pytest.mark.parametrize("last", ["end", "message", "reset", "lost", "eof"])
    def test_the_client_s_end(self, work: Work, last: str) -> None:
        """Section 5: the end of the stream is that of a TCP connection."""
        app = Script()
        client = opened(work(app))
        if last == "lost":
            client.peer.lose()
        elif last == "eof":
            client.take(client.peer.eof())
        elif last == "reset":
            client.send(rst_stream(1))
        else:
            client.send(data(1, text("bye") if last == "message" else b"", end=True))
        assert app.got == [received("bye")] * (last == "message") + [GONE]
        if last not in ("lost", "reset"):
            assert (client.replies[1].ended, client.replies[1].reset) == (True, None)

    def test_closing_handshake_of_the_client(self, work: Work) -> None:
        app = Script()
        client = opened(work(app))
        assert exchange(client, close(3000, "why")) == [closing(3000)]
        assert client.replies[1].ended
        assert app.got == [disconnect(3000, "why")]
        client.send(data(1, end=True))
        client.hear()
        assert client.replies[1].reset is None
        assert client.ask(3).reset is None

    def test_a_client_that_does_not_end_its_side(self, work: Work) -> None:
        client = opened(work(echo))
        exchange(client, close())
        client.wire.advance(31)
        client.hear()
        assert client.replies[1].reset == NO_ERROR

    def test_closing_handshake_of_the_application(self, work: Work) -> None:
        async def body(receive: Any, send: Any) -> None:
            await send({"type": "websocket.close", "code": 4000, "reason": "enough"})

        app = Script(body)
        client = opened(work(app))
        assert frames(client) == [closing(4000, "enough")]
        assert not client.replies[1].ended
        assert exchange(client, text("late") + close(4000)) == []
        assert (client.replies[1].ended, client.replies[1].reset) == (True, None)

    def test_a_client_that_does_not_answer_the_close_frame(self, work: Work) -> None:
        async def body(receive: Any, send: Any) -> None:
            await send({"type": "websocket.close"})

        client = opened(work(Script(body)))
        client.wire.advance(11)
        client.hear()
        assert client.replies[1].reset == CANCEL
        assert not client.closed

    def test_a_wrong_frame(self, work: Work) -> None:
        """The WebSocket fails, and its stream ends; what the client still sends is read, and nothing else suffers."""
        app = Script()
        wire = work(app)
        client = opened(wire)
        client.send(opening(3))
        found = exchange(client, frame(FIN | 0x40 | TEXT, b"x"))
        assert [(opcode, payload[:2]) for opcode, payload in found] == [(CLOSE, (1002).to_bytes(2, "big"))]
        assert client.replies[1].ended
        assert wire.worker.connections and not client.closed
        client.send(data(1, text("late")), data(1, bytes(60_000)[:16_000]), data(1, end=True))
        assert exchange(client, frame(FIN | PING, b"p"), 3) == [(PONG, b"p")]
        assert not client.closed

    def test_after_that_the_connection_counts_as_before(self, work: Work) -> None:
        """Connections that only wait for their client to close do not count for --limit-concurrency; this one does."""
        wire = work(echo, limit_concurrency=2)
        client = opened(wire)
        exchange(client, frame(FIN | 0x40 | TEXT, b"x"))
        assert client.replies[1].ended
        assert Http2Client(wire).ask(1).status == 503

    def test_a_fault_of_the_server_s_resets_its_stream_alone(self, work: Work) -> None:
        class Failing(asyncio.Future):  # type: ignore[type-arg]
            def set_result(self, result: Any) -> None:
                raise MemoryError

        async def twice(receive: Any, send: Any) -> None:
            loop: Any = asyncio.get_running_loop()
            first = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            loop.create_future = lambda: Failing(loop=loop)
            second = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            del loop.create_future
            await first
            second.cancel()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await (Script(twice) if scope["path"] == "/fail" else echo)(scope, receive, send)

        wire = work(app)
        client = opened(wire)
        client.send(headers(3, changed(":path", "/fail"), end=False))
        client.send(data(3, text("one")))
        assert client.replies[3].reset == INTERNAL_ERROR
        assert {type(error) for error in wire.errors} == {MemoryError}
        assert exchange(client, text("two")) == [(TEXT, b"two")]

    def test_send_raises_once_it_is_closed(self, work: Work) -> None:
        errors = []

        async def body(receive: Any, send: Any) -> None:
            assert await receive() == GONE
            for _ in range(2):
                try:
                    await send(sent("late"))
                except OSError as error:
                    errors.append(error)

        client = opened(work(Script(body)))
        client.send(rst_stream(1))
        assert len(errors) == 2

    def test_pings(self, work: Work) -> None:
        app = Script()
        client = opened(work(app, ws_ping_interval=20, ws_ping_timeout=20))
        client.wire.advance(21)
        ((opcode, payload),) = frames(client)
        assert opcode == PING
        assert exchange(client, frame(FIN | PONG, payload)) == []
        client.wire.advance(21)
        assert [opcode for opcode, _ in frames(client)] == [PING]
        client.wire.advance(21)
        assert frames(client) == [closing(1011, "keepalive ping timeout")]
        assert client.replies[1].ended
        assert app.got == [disconnect(1011, "keepalive ping timeout")]

    def test_an_open_one_keeps_the_connection(self, work: Work) -> None:
        client = opened(work(echo, timeout_keep_alive=5, ws_ping_interval=0))
        client.wire.advance(100)
        assert exchange(client, text("there")) == [(TEXT, b"there")]
        exchange(client, close())
        client.send(data(1, end=True))
        client.wire.advance(6)
        client.hear()
        assert client.goaways[0] == (2**31 - 1, NO_ERROR)

    def test_stop(self, work: Work) -> None:
        """Its WebSockets get 1012, the client two GOAWAYs; the connection is closed once they have ended."""
        app = Script()
        wire = work(app)
        client = opened(wire)
        wire.call(wire.worker.drain)
        assert frames(client) == [closing(1012)]
        assert app.got == [disconnect(1012)]
        assert client.goaways == [(2**31 - 1, NO_ERROR)]
        client.send(ping(b"leaving.", ack=True))
        assert client.goaways[1:] == [(1, NO_ERROR)]
        assert not client.closed
        client.send(data(1, close(1012)), data(1, end=True))
        assert client.replies[1].ended
        assert client.closed

    def test_one_that_opens_while_it_stops(self, work: Work) -> None:
        app = Script()
        wire = work(app)
        client = opened(wire)
        wire.call(wire.worker.drain)
        client.send(opening(3))
        assert frames(client, 3) == [closing(1012)]

    def test_a_handshake_under_way_when_it_stops(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await receive()

        wire = work(app)
        client = Http2Client(wire)
        client.send(opening())
        wire.call(wire.worker.drain)
        client.hear()
        assert client.replies[1].status == 503


class TestSending:
    """What the client's windows do not hold waits, and send() with it."""

    def body(self, count: int, size: int, done: list[int]) -> Any:
        async def run(receive: Any, send: Any) -> None:
            for number in range(count):
                await send(sent(bytes([number]) * size))
                done.append(number)
            await receive()

        return Script(run)

    def test_a_closed_window_of_the_stream(self, work: Work) -> None:
        done: list[int] = []
        client = opened(work(self.body(5, 100, done)), (INITIAL_WINDOW_SIZE, 10))
        assert (client.replies[1].body, done) == (b"\x82\x64" + bytes(8), [])
        client.send(window_update(1, 90))
        assert (len(client.replies[1].body), done) == (100, [])
        client.send(window_update(1, 2))
        assert (len(client.replies[1].body), done) == (102, [0])
        client.send(settings((INITIAL_WINDOW_SIZE, 10_000)))
        assert done == [0, 1, 2, 3, 4]
        assert [payload[:1] for _, payload in frames(client)] == [bytes([number]) for number in range(5)]

    @pytest.mark.parametrize("size", [100, 20_000, 40_000])
    def test_that_of_the_connection(self, work: Work, size: int) -> None:
        done: list[int] = []
        client = opened(work(self.body(20, size, done)), (INITIAL_WINDOW_SIZE, 1 << 30))
        client.hear()
        total = 20 * (size + (2 if size < 126 else 4))
        assert len(client.replies[1].body) == min(total, FIRST_WINDOW)
        assert len(done) == 20 if total <= FIRST_WINDOW else len(done) < 4
        client.send(window_update(0, 1 << 20))
        assert [payload for _, payload in frames(client)] == [bytes([number]) * size for number in range(20)]
        assert len(done) == 20

    def test_a_client_that_does_not_read(self, work: Work) -> None:
        done: list[int] = []
        wire = work(self.body(20, 100_000, done))
        client = Http2Client(wire, (INITIAL_WINDOW_SIZE, 1 << 30))
        client.send(window_update(0, 1 << 30))
        client.peer.transport.stuck = True
        client.send(opening())
        assert len(done) < 3
        assert client.peer.transport.queue < 300_000
        client.peer.transport.unstick()
        assert [payload for _, payload in frames(client)] == [bytes([number]) * 100_000 for number in range(20)]

    def test_others_are_served_meanwhile(self, work: Work) -> None:
        done: list[int] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/chat":
                await self.body(20, 1000, done)(scope, receive, send)
            else:
                await echo(scope, receive, send)

        client = opened(work(app), (INITIAL_WINDOW_SIZE, 500))
        client.send(headers(3, changed(":path", "/echo"), end=False))
        assert exchange(client, text("there"), 3) == [(TEXT, b"there")]
        assert done == []

    def test_a_window_that_stays_closed(self, work: Work) -> None:
        """--timeout-write: as long as the client takes nothing."""
        app = Script(lambda receive, send: send(sent(bytes(1000))))
        client = opened(work(app, timeout_write=30, ws_ping_interval=0), (INITIAL_WINDOW_SIZE, 10))
        client.wire.advance(29)
        client.send(window_update(1, 10))
        client.wire.advance(29)
        client.hear()
        assert not client.replies[1].reset
        client.wire.advance(2)
        client.hear()
        assert client.replies[1].reset == CANCEL
        assert isinstance(app.error, OSError)
        assert not client.closed

    @pytest.mark.parametrize("size", [900, 2000, 20_000])
    def test_a_message_that_finds_bytes_held_for_too_long(self, work: Work, size: int) -> None:
        """It does not fit the window and so is written at once; meanwhile all that is held is, its own writer's too."""

        async def body(receive: Any, send: Any) -> None:
            await receive()
            await send(sent(bytes(100)))
            TIME.spin(0.003)
            await send(sent(bytes(size)))
            await send(sent("end"))

        client = opened(work(Script(body), ws_per_message_deflate=False), (INITIAL_WINDOW_SIZE, 1000))
        client.send(data(1, text("go")))
        client.send(window_update(1, 30_000))
        found = [(opcode, len(payload)) for opcode, payload in frames(client)]
        assert found == [(BINARY, 100), (BINARY, size), (TEXT, 3), (CLOSE, 2)]

    def test_a_close_frame_and_the_end_wait_as_well(self, work: Work) -> None:
        async def body(receive: Any, send: Any) -> None:
            await send(sent(bytes(100)))
            await send({"type": "websocket.close"})

        client = opened(work(Script(body)), (INITIAL_WINDOW_SIZE, 10))
        exchange_before = len(client.replies[1].body)
        assert exchange_before == 10
        client.send(window_update(1, 92))
        assert len(client.replies[1].body) == 102
        client.send(data(1, close()))
        assert not client.replies[1].ended
        client.send(window_update(1, 4))
        assert frames(client) == [(BINARY, bytes(100)), closing(1000)]
        assert client.replies[1].ended

    def test_pongs_do_not_pile_up(self, work: Work) -> None:
        client = opened(work(echo), (INITIAL_WINDOW_SIZE, 2))
        for number in range(400):
            client.send(data(1, frame(FIN | PING, b"%0100d" % number)))
        client.send(window_update(1, 10_000))
        pongs = [payload for opcode, payload in frames(client) if opcode == PONG]
        assert len(pongs) < 5
        assert pongs[-1] == b"%0100d" % 399

    def test_windows_that_cut_messages_very_small(self, work: Work) -> None:
        """CVE-2019-9511, as for bodies."""
        client = opened(work(self.body(100, 1000, [])), (INITIAL_WINDOW_SIZE, 0))
        for _ in range(3000):
            if client.closed:
                break
            client.send(window_update(1, 1))
        assert client.error == ENHANCE_YOUR_CALM

    def test_nor_are_the_heads_of_large_messages(self, work: Work) -> None:
        """Which are pieces of their own, before what is not copied."""
        payload = bytes(20_000)

        async def body(receive: Any, send: Any) -> None:
            while True:
                await send(sent(payload))

        client = opened(work(Script(body)), (INITIAL_WINDOW_SIZE, 0))
        client.send(window_update(0, 1 << 30))
        for _ in range(1100):
            client.send(window_update(1, len(payload) + 4))
            client.replies[1].body = b""
        assert not client.closed

    def test_a_window_as_large_as_each_message_is_no_fault(self, work: Work) -> None:
        client = opened(work(self.body(200, 20, [])), (INITIAL_WINDOW_SIZE, 0))
        client.send(*(window_update(1, 22) for _ in range(200)))
        assert len(frames(client)) == 200
        assert not client.closed


class TestReceiving:
    """The client may send what its WebSocket has taken, and a window more."""

    def stalled(self, work: Work, **settings: Any) -> tuple[Script, asyncio.Event, Http2Client]:
        gate = asyncio.Event()

        async def body(receive: Any, send: Any) -> None:
            await gate.wait()
            while (await receive())["type"] != "websocket.disconnect":
                pass

        app = Script(body)
        return app, gate, opened(work(app, ws_per_message_deflate=False, **settings))

    def test_credit_for_what_is_taken(self, work: Work) -> None:
        client = opened(work(Script()))
        for _ in range(100):
            client.send(data(1, binary(bytes(10_000))))
        assert 900_000 < client.updates(1) <= 1_000_800

    def test_none_for_what_is_not(self, work: Work) -> None:
        app, gate, client = self.stalled(work, ws_max_queue=2)
        message = binary(bytes(1000))
        sent_size = 0
        while sent_size + len(message) <= FIRST_WINDOW + client.updates(1):
            client.send(data(1, message))
            sent_size += len(message)
            assert sent_size < 100_000
        assert client.updates(1) == 0
        client.wire.call(gate.set)
        client.hear()
        assert len(app.got) == sent_size // len(message)
        assert client.updates(1) > FIRST_WINDOW // 2

    def test_more_than_that_is_a_fault(self, work: Work) -> None:
        _, gate, client = self.stalled(work, ws_max_queue=2)
        for _ in range(8):
            client.send(data(1, binary(bytes(16_000))))
        assert client.replies[1].reset == FLOW_CONTROL_ERROR
        client.wire.call(gate.set)

    def test_a_large_message_gets_a_large_window(self, work: Work) -> None:
        client = opened(work(Script()))
        raw = binary(bytes(3_000_000))
        sent_size, largest = 0, 0
        while sent_size < len(raw):
            credit = FIRST_WINDOW + client.updates(1) - sent_size
            assert credit > 0
            largest = max(largest, credit)
            client.send(data(1, raw[sent_size : sent_size + min(16_384, credit)]))
            sent_size += min(16_384, credit)
        assert largest > 500_000
        small = client.updates(1)
        for _ in range(10):
            client.send(data(1, binary(b"x")))
        assert client.updates(1) == small

    def test_many_small_frames_that_wait_cost_no_copies_of_copies(self, work: Work) -> None:
        app, gate, client = self.stalled(work, ws_max_queue=2)
        raw = (text("1") + text("2") + text("3")) * 1000
        client.send(b"".join(data(1, raw[at : at + 1]) for at in range(len(raw))))
        client.wire.call(gate.set)
        assert len(app.got) == 3000

    @pytest.mark.parametrize("before", [10, 6000])
    def test_a_close_frame_after_messages_that_nobody_takes(self, work: Work, before: int) -> None:
        app, gate, client = self.stalled(work, ws_max_queue=2)
        messages = [bytes([number]) * before for number in range(5)]
        for each in messages:
            client.send(data(1, binary(each)))
        client.send(data(1, close(3000)))
        client.wire.advance(1.1)
        assert frames(client) == [closing(3000)]
        assert client.replies[1].ended
        client.wire.call(gate.set)
        assert app.got == [*map(received, messages), disconnect(3000)]

    def test_one_that_comes_together_with_them(self, work: Work) -> None:
        app, gate, client = self.stalled(work, ws_max_queue=2)
        client.send(*(data(1, text(each)) for each in "12345"), data(1, text("6") + close(3000)))
        client.wire.advance(1.1)
        assert frames(client) == [closing(3000)]
        client.wire.call(gate.set)
        assert app.got == [*map(received, "123456"), disconnect(3000)]

    @pytest.mark.parametrize("last", [rst_stream(1), data(1, end=True), b"lost"])
    def test_nothing_is_lost_with_the_stream(self, work: Work, last: bytes) -> None:
        app, gate, client = self.stalled(work, ws_max_queue=1)
        messages = [bytes([number]) * 6000 for number in range(6)]
        for each in messages:
            client.send(data(1, binary(each)))
        client.peer.lose() if last == b"lost" else client.send(last)
        assert app.got == []
        client.wire.call(gate.set)
        assert app.got == [*map(received, messages), GONE]

    def test_the_window_of_the_connection_comes_back(self, work: Work) -> None:
        """From WebSockets that are reset with what nobody has taken."""
        wire = work(Script(lambda receive, send: receive()), ws_max_queue=1)
        client = Http2Client(wire)
        first = FIRST_WINDOW + client.updates(0)
        spent = 0
        for number in range(150):
            stream = 2 * number + 1
            client.send(opening(stream))
            client.send(*(data(stream, binary(bytes(15_000))) for _ in range(4)), rst_stream(stream))
            spent += 4 * len(binary(bytes(15_000)))
        wire.settle()
        client.hear()
        credit = first + client.updates(0) - spent
        assert credit > first // 2
        assert wire.worker.active == 0

    def test_applications_that_go_on_count_as_streams(self, work: Work) -> None:
        """Of WebSockets that were reset."""
        gate = asyncio.Event()
        wire = work(Script(lambda receive, send: gate.wait()), limit_http2_streams=3)
        client = Http2Client(wire)
        for stream in (1, 3, 5):
            client.send(opening(stream), rst_stream(stream))
        client.send(opening(7))
        assert client.replies[7].reset == REFUSED_STREAM
        wire.call(gate.set)
        for stream in (9, 11, 13):
            client.send(opening(stream))
            assert client.replies[stream].status == 200
        client.send(opening(15))
        assert client.replies[15].reset == REFUSED_STREAM

    def test_those_that_have_ended_do_not(self, work: Work) -> None:
        """An application that returns closes its WebSocket, whose stream may be reset only then."""
        wire = work(Script(lambda receive, send: asyncio.sleep(0)), limit_http2_streams=3)
        client = Http2Client(wire)
        for number in range(20):
            client.send(opening(2 * number + 1))
            assert frames(client, 2 * number + 1) == [closing(1011)]
            client.send(rst_stream(2 * number + 1))
