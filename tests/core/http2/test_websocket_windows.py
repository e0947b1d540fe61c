"""WebSockets over HTTP/2 and the windows of both sides: what waits, and what goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from core.extended_connect import changed, exchange, frames, opened, opening
from core.frames import BINARY, CLOSE, FIN, PING, PONG, TEXT, binary, frame, text
from fakes.http2 import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    INITIAL_WINDOW_SIZE,
    REFUSED_STREAM,
    Http2Client,
    data,
    headers,
    rst_stream,
    settings,
    window_update,
)
from fakes.worker import TIME, FakeWorker
from ws import Script, close, closing, disconnect, echo, received, sent

Work = Callable[..., FakeWorker]
FIRST_WINDOW = 65535
GONE = disconnect(1006)


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
