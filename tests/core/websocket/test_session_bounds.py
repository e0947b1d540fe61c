"""What bounds a WebSocket: the queue of messages, a client that does not read, and one that does not answer."""

from __future__ import annotations

import asyncio
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import BINARY, CLOSE, FIN, PING, PONG, TEXT, binary, frame, text
from fakes.worker import FakeWorker, Peer
from ws import (
    FRAMINGS,
    Script,
    close,
    closing,
    disconnect,
    echo,
    opened,
    read_frames,
    received,
    split_response,
    upgrade,
)

from fastserve._core import testing
from fastserve._core.errors import ClientDisconnected

Work = Callable[..., FakeWorker]
GONE = {"type": "websocket.disconnect", "code": 1006, "reason": ""}


class TestQueue:
    """--ws-max-queue: reading stops when the application has this many messages unread."""

    @staticmethod
    def stalled(sockets: Work, **settings: Any) -> tuple[Script, asyncio.Event, Peer]:
        gate = asyncio.Event()

        async def body(receive: Any, send: Any) -> None:
            await gate.wait()
            while (await receive())["type"] != "websocket.disconnect":
                pass

        app = Script(body)
        return app, gate, opened(sockets(app, **settings))

    @staticmethod
    def reads(peer: Peer) -> bool:
        return peer.transport.reading

    @pytest.mark.parametrize("sockets", sorted(FRAMINGS), indirect=True)  # over HTTP/2 as its windows allow
    def test_no_more_are_parsed_and_then_none_read(self, sockets: Work) -> None:
        app, gate, peer = self.stalled(sockets, ws_max_queue=2)
        peer.feed(text("1") + text("2") + text("3") + frame(FIN | PING, b"p"))
        assert self.reads(peer)
        peer.feed(text("4"))
        assert not self.reads(peer)
        peer.wire.call(gate.set)
        assert app.got == [received(each) for each in "1234"]
        assert self.reads(peer)

    def test_what_small_messages_inflate_to_is_bounded_as_well(self, sockets: Work) -> None:
        gate = asyncio.Event()
        sizes: list[int] = []

        async def body(receive: Any, send: Any) -> None:
            await gate.wait()
            while (message := await receive())["type"] != "websocket.disconnect":
                sizes.append(len(message["bytes"]))

        stream = zlib.compressobj(wbits=-15)
        payload = (stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH))[:-4]
        peer = sockets(Script(body), ws_per_message_deflate=True).connect()
        peer.feed(upgrade("/", "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"))
        tracemalloc.start()
        try:
            peer.feed(frame(FIN | 0x40 | BINARY, payload) * 50)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 10 << 20
        peer.wire.call(gate.set)
        peer.wire.turn(100)
        assert sizes == [1 << 20] * 50
        peer.feed(close())

    def test_a_ping_behind_is_answered_when_there_is_room(self, work: Work) -> None:
        _, gate, peer = self.stalled(work, ws_max_queue=2)
        assert peer.feed(text("1") + text("2") + frame(FIN | PING, b"p")) == b""
        peer.wire.call(gate.set)
        assert read_frames(peer.take()) == [(PONG, b"p")]

    def test_bytes_are_bounded_as_well(self, sockets: Work) -> None:
        app, gate, peer = self.stalled(sockets, ws_max_queue=1000)
        for _ in range(4):
            peer.feed(binary(b"x" * 50_000))
        assert not peer.transport.reading
        peer.wire.call(gate.set)
        assert len(app.got) == 4
        assert peer.transport.reading

    def test_nothing_is_lost_with_the_connection(self, sockets: Work) -> None:
        """A client that sends, closes and leaves: the application gets it all in its own time."""
        app, gate, peer = self.stalled(sockets, ws_max_queue=1)
        peer.feed(text("1") + text("2") + text("3") + close(1001, "bye"))
        peer.lose()
        assert app.got == []
        peer.wire.call(gate.set)
        assert app.got == [received("1"), received("2"), received("3"), disconnect(1001, "bye")]

    def test_nor_with_the_client_s_last_byte(self, sockets: Work) -> None:
        app, gate, peer = self.stalled(sockets, ws_max_queue=1)
        peer.feed(text("1") + text("2"))
        peer.eof()
        assert not peer.ended
        peer.wire.call(gate.set)
        assert app.got == [received("1"), received("2"), GONE]
        assert peer.ended

    MESSAGES: tuple[str | bytes, ...] = ("0", "1", "2", bytes(200), bytes(70_000), "")
    BEFORE = b"".join(text(each) if isinstance(each, str) else binary(each) for each in MESSAGES)

    @pytest.mark.parametrize("sockets", sorted(FRAMINGS), indirect=True)  # no window of HTTP/2 holds so much before it
    def test_a_close_frame_that_there_is_no_room_for_is_answered(self, sockets: Work) -> None:
        """After a second at most, whatever the application does; it still gets what came before."""
        app, gate, peer = self.stalled(sockets, ws_max_queue=2)
        found = peer.feed(self.BEFORE + close(3000))
        peer.wire.advance(1.1)
        assert read_frames(found + peer.take()) == [closing(3000)]
        assert peer.transport.closed
        peer.wire.call(gate.set)
        assert app.got == [*map(received, self.MESSAGES), disconnect(3000)]

    @pytest.mark.parametrize("code", [3000, None])
    def test_also_in_a_read_of_its_own(self, work: Work, code: int | None) -> None:
        app, gate, peer = self.stalled(work, ws_max_queue=2)
        assert peer.feed(self.BEFORE + binary(bytes(300))[:99]) == b""
        assert peer.feed(binary(bytes(300))[99:] + frame(FIN | PING, b"p") + close(code)) == b""
        peer.wire.advance(0.9)
        assert peer.take() == b""
        peer.wire.advance(0.2)
        assert read_frames(peer.take()) == [(CLOSE, b"" if code is None else code.to_bytes(2, "big"))]
        assert peer.transport.closed
        peer.wire.call(gate.set)
        assert app.got == [*map(received, self.MESSAGES), received(bytes(300)), disconnect(code or 1005)]

    @pytest.mark.parametrize("sockets", sorted(FRAMINGS), indirect=True)
    def test_send_raises_after_that(self, sockets: Work) -> None:
        gate = asyncio.Event()

        async def body(receive: Any, send: Any) -> None:
            await gate.wait()
            await send({"type": "websocket.send", "text": "late"})

        app = Script(body)
        peer = opened(sockets(app, ws_max_queue=2))
        peer.feed(self.BEFORE + close(3000))
        testing.advance(peer.wire.worker.clock, 1.1)  # and before the transport has closed
        peer.wire.call(gate.set)
        assert isinstance(app.error, ClientDisconnected)
        assert peer.wire.errors == []

    def test_an_application_that_leaves_it_all(self, sockets: Work) -> None:
        app = Script(lambda receive, send: asyncio.sleep(0))
        peer = sockets(app, ws_max_queue=1).connect()
        _, frames = split_response(peer.feed(upgrade() + text("1") + text("2") + text("3")))
        assert frames == [closing(1011)]
        peer.feed(text("4") + close(1000))
        assert peer.ended


class TestBackPressure:
    SIZE = 20_000

    def flooding(self, sockets: Work, count: int) -> tuple[list[int], Peer]:
        """A client that does not read what an application sends it, after a first message."""
        sent = [0]

        async def body(receive: Any, send: Any) -> None:
            await receive()
            for _ in range(count):
                await send({"type": "websocket.send", "bytes": b"x" * self.SIZE})
                sent[0] += 1
            await receive()

        peer = opened(sockets(Script(body)))
        peer.transport.stuck = True
        peer.feed(text("go"))
        return sent, peer

    def test_send_waits_for_a_client_that_does_not_read(self, sockets: Work) -> None:
        sent, peer = self.flooding(sockets, 100)
        assert 0 <= sent[0] < 10
        peer.transport.unstick()
        peer.wire.settle()
        assert sent[0] == 100
        assert not peer.ended

    def test_a_send_that_is_given_up_leaves_nothing_behind(self, sockets: Work) -> None:
        """asyncio.wait_for() and its kind cancel send(): a client that does not read gets no more to be kept for it."""
        given_up = [0]

        async def body(receive: Any, send: Any) -> None:
            await receive()
            for _ in range(100):
                sending = asyncio.ensure_future(send({"type": "websocket.send", "bytes": b"x" * self.SIZE}))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if not sending.done():
                    given_up[0] += sending.cancel()
                    await asyncio.wait([sending])
            await send({"type": "websocket.send", "text": "last"})

        peer = opened(sockets(Script(body)))
        peer.transport.stuck = True
        found = peer.feed(text("go"))
        peer.wire.turn(600)
        assert given_up[0] > 90
        assert peer.transport.queue < 10 * self.SIZE
        peer.transport.unstick()
        peer.wire.settle()
        frames = read_frames(found + peer.take())
        assert len(frames) < 12
        assert frames[-2:] == [(TEXT, b"last"), closing(1011)]
        assert all(each == (BINARY, b"x" * self.SIZE) for each in frames[:-2])

    def test_sends_that_wait_keep_their_order(self, sockets: Work) -> None:
        """Those of many tasks, the close after them, and what is wrong with one is told to who sent it."""
        results: list[Any] = []

        async def body(receive: Any, send: Any) -> None:
            await receive()
            messages: list[Any] = [{"type": "websocket.send", "bytes": bytes([each]) * self.SIZE} for each in range(50)]
            messages.insert(30, {"type": "websocket.send", "text": 5})
            messages.append({"type": "websocket.close", "code": 3000})
            messages.append({"type": "websocket.send", "text": "late"})
            results.extend(await asyncio.gather(*map(send, messages), return_exceptions=True))

        peer = opened(sockets(Script(body)))
        peer.transport.stuck = True
        found = peer.feed(text("go"))
        assert results == [] and peer.transport.queue < 10 * self.SIZE
        peer.transport.unstick()
        peer.wire.settle()
        frames = read_frames(found + peer.take())
        assert frames == [*((BINARY, bytes([each]) * self.SIZE) for each in range(50)), closing(3000)]
        assert [type(results[each]) for each in (30, -1)] == [TypeError, ClientDisconnected]
        assert {*results[5:30], *results[31:-1]} == {None}

    def test_sends_that_wait_hear_of_the_end(self, sockets: Work) -> None:
        results: list[Any] = []

        async def body(receive: Any, send: Any) -> None:
            await receive()
            message = {"type": "websocket.send", "bytes": b"x" * self.SIZE}
            results.extend(await asyncio.gather(*(send(message) for _ in range(50)), return_exceptions=True))

        peer = opened(sockets(Script(body)))
        peer.transport.stuck = True
        peer.feed(text("go"))
        peer.wire.settle()
        assert results == []
        peer.lose()
        peer.wire.settle()
        assert len(results) == 50
        assert [type(each) for each in results[-40:]] == [ClientDisconnected] * 40
        assert not peer.wire.worker.tasks
        assert peer.wire.errors == []

    def test_it_ends_with_the_connection(self, sockets: Work) -> None:
        _, peer = self.flooding(sockets, 100)
        assert peer.wire.worker.tasks
        peer.lose()
        assert not peer.wire.worker.tasks
        assert peer.wire.errors == []

    def test_it_ends_with_the_connection_before_all_messages_are_taken(self, sockets: Work) -> None:
        wire = sockets(echo)
        peer = opened(wire)
        peer.transport.stuck = True
        while peer.transport.reading:
            peer.feed(binary(b"x" * 10_000) * 8)
        assert wire.worker.tasks
        peer.lose()
        wire.settle()
        assert not wire.worker.tasks
        assert wire.errors == []

    def test_a_client_that_only_sends_is_not_read(self, sockets: Work) -> None:
        """Neither responses to its pings nor echoes nor its messages pile up."""
        peer = opened(sockets(echo))
        peer.transport.stuck = True
        data = binary(b"x" * 10_000) + frame(FIN | PING, b"p" * 125) * 80
        size, answers = 0, b""
        while peer.transport.reading:
            answers += peer.feed(data)
            size += len(data)
            assert size < 500_000
        assert peer.transport.queue < 300_000
        peer.transport.unstick()
        peer.wire.settle()
        assert TestQueue.reads(peer)
        echoes = [payload for opcode, payload in read_frames(answers + peer.take()) if opcode == BINARY]
        assert echoes == [b"x" * 10_000] * (size // len(data))
        assert read_frames(peer.feed(text("on"))) == [(TEXT, b"on")]

    @pytest.mark.parametrize("leaves", [True, False])
    def test_nor_is_one_that_only_pings(self, sockets: Work, leaves: bool) -> None:
        app = Script()
        peer = opened(sockets(app))
        peer.transport.stuck = True
        answers = b""
        for _ in range(100):
            if peer.transport.reading:
                answers += peer.feed(frame(FIN | PING, b"p" * 125) * 100)
        if leaves:
            peer.lose()
            assert app.got == [GONE]
            return
        peer.transport.unstick()
        peer.wire.settle()
        assert len(answers + peer.take()) < 200_000
        assert peer.transport.reading
        assert read_frames(peer.feed(close())) == [closing(1000)]

    def test_pongs_are_not_kept_for_a_client_that_does_not_read(self, work: Work) -> None:
        """RFC 6455 section 5.5.3: the newest ping alone is answered."""
        _, peer = self.flooding(work, 6)
        peer.take()
        for number in range(100):
            peer.feed(frame(FIN | PING, b"%d" % number))
        assert peer.take() == b""
        peer.transport.unstick()
        peer.wire.settle()
        assert [payload for opcode, payload in read_frames(peer.take()) if opcode == PONG] == [b"99"]


class TestKeepalive:
    def test_ping_and_pong(self, sockets: Work) -> None:
        peer = opened(sockets(Script(), ws_ping_interval=20, ws_ping_timeout=20))
        for _ in range(3):
            peer.wire.advance(19)
            assert peer.take() == b""
            peer.wire.advance(2)
            ((opcode, payload),) = read_frames(peer.take())
            assert opcode == PING
            peer.wire.advance(19)
            assert peer.feed(frame(FIN | PONG, payload)) == b""
        assert not peer.ended

    def test_no_pong(self, sockets: Work) -> None:
        app = Script()
        peer = opened(sockets(app, ws_ping_interval=20, ws_ping_timeout=5))
        peer.wire.advance(21)
        peer.take()
        # Neither another message nor the pong to something else is the pong.
        peer.feed(text("here") + frame(FIN | PONG, b"other"))
        peer.wire.advance(6)
        assert read_frames(peer.take()) == [closing(1011, "keepalive ping timeout")]
        assert app.got == [received("here"), disconnect(1011, "keepalive ping timeout")]
        assert peer.ended
        peer.wire.advance(6)
        assert peer.transport.closed

    def test_a_frame_that_is_arriving_is_a_sign_of_life(self, sockets: Work) -> None:
        """The client's pong cannot come before its end."""
        app = Script()
        peer = opened(sockets(app, ws_ping_interval=20, ws_ping_timeout=5))
        large = binary(bytes(80_000))
        peer.feed(large[:10_000])
        peer.wire.advance(21)
        ((_, payload),) = read_frames(peer.take())
        for at in range(10_000, 80_000, 10_000):
            peer.wire.advance(4)
            assert peer.feed(large[at : at + 10_000]) == b""
        peer.wire.advance(4)
        assert peer.feed(large[80_000:] + frame(FIN | PONG, payload)) == b""
        assert app.got == [received(bytes(80_000))]
        peer.wire.advance(19)
        assert peer.take() == b""

    def test_but_not_one_that_has_stopped(self, sockets: Work) -> None:
        peer = opened(sockets(Script(), ws_ping_interval=20, ws_ping_timeout=5))
        large = binary(bytes(80_000))
        peer.feed(large[:10_000])
        peer.wire.advance(21)
        peer.take()
        peer.feed(large[10_000:20_000])
        peer.wire.advance(6)
        assert read_frames(peer.take()) == [closing(1011, "keepalive ping timeout")]

    def test_without_a_timeout(self, sockets: Work) -> None:
        peer = opened(sockets(Script(), ws_ping_interval=20, ws_ping_timeout=0))
        for _ in range(5):
            peer.wire.advance(21)
            assert [opcode for opcode, _ in read_frames(peer.take())] == [PING]
        assert not peer.ended

    def test_switched_off(self, sockets: Work) -> None:
        peer = opened(sockets(Script(), ws_ping_interval=0))
        peer.wire.advance(10_000)
        assert peer.take() == b""

    def test_the_application_is_not_the_client(self, sockets: Work) -> None:
        """A pong that waits after messages that the application has not taken is none that is missing."""
        _, gate, peer = TestQueue.stalled(sockets, ws_max_queue=1, ws_ping_interval=20, ws_ping_timeout=5)
        peer.wire.advance(21)
        ((_, payload),) = read_frames(peer.take())
        peer.feed(text("1") + text("2") + text("3") + frame(FIN | PONG, payload))
        peer.wire.advance(6)
        peer.wire.advance(6)
        assert not peer.ended
        peer.wire.call(gate.set)
        peer.wire.advance(19)
        assert not peer.ended
        peer.wire.advance(2)
        assert [opcode for opcode, _ in read_frames(peer.take())] == [PING]
