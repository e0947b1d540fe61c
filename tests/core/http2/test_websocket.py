"""WebSockets over HTTP/2: what a stream is to a WebSocket.

What a WebSocket does with bytes, whatever carries them, is in core/websocket; those tests run over HTTP/2 too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from core.extended_connect import changed, exchange, frames, opened, opening
from core.frames import BINARY, CLOSE, FIN, PING, PONG, TEXT, binary, frame, text
from fakes.http2 import (
    CANCEL,
    DATA,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    NO_ERROR,
    Http2Client,
    data,
    headers,
    ping,
    rst_stream,
    window_update,
)
from fakes.worker import FakeWorker, respond
from ws import Script, close, closing, disconnect, echo, received, sent

Work = Callable[..., FakeWorker]
GONE = disconnect(1006)


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

    @pytest.mark.parametrize("limit", [0, 1])
    def test_a_fault_of_the_server_s_resets_its_stream_alone(self, work: Work, limit: int) -> None:
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

        wire = work(app, limit_request_body=limit)  # which is not for WebSockets
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
