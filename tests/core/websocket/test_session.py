"""The state machine of a WebSocket, for each of the implementations of its frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import BINARY, CLOSE, FIN, PING, PONG, TEXT, binary, fragments, frame, text
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

from fastserve._core import counters
from fastserve._core.errors import ClientDisconnected

Work = Callable[..., FakeWorker]
GONE = {"type": "websocket.disconnect", "code": 1006, "reason": ""}


class TestMessages:
    def test_each_way(self, sockets: Work) -> None:
        peer = opened(sockets(echo))
        assert read_frames(peer.feed(text("grün"))) == [(TEXT, "grün".encode())]
        assert read_frames(peer.feed(binary(b"\0\xff"))) == [(BINARY, b"\0\xff")]
        assert read_frames(peer.feed(text(""))) == [(TEXT, b"")]
        assert read_frames(peer.feed(binary(b""))) == [(BINARY, b"")]

    @pytest.mark.parametrize("size", [125, 126, 65535, 65536, 300_000])
    def test_of_every_form_of_length(self, sockets: Work, size: int) -> None:
        peer = opened(sockets(echo))
        assert read_frames(peer.feed(binary(b"x" * size))) == [(BINARY, b"x" * size)]
        assert read_frames(peer.feed(text("y" * size))) == [(TEXT, b"y" * size)]

    def test_byte_by_byte(self, sockets: Work) -> None:
        peer = opened(sockets(echo))
        data = text("one") + binary(b"two")
        assert read_frames(b"".join(peer.feed(data[at : at + 1]) for at in range(len(data)))) == [
            (TEXT, b"one"),
            (BINARY, b"two"),
        ]

    def test_that_come_with_the_handshake(self, sockets: Work) -> None:
        """Several, and a close frame, before the application has accepted."""
        app = Script()
        wire = sockets(app)
        peer = wire.connect()
        _, frames = split_response(peer.feed(upgrade() + text("one") + binary(b"two") + close(1001, "off")))
        assert frames == [closing(1001)] or frames == [closing(1001, "off")]
        assert app.got == [received("one"), received(b"two"), disconnect(1001, "off")]
        assert peer.ended

    def test_fragments_around_a_ping(self, sockets: Work) -> None:
        app = Script()
        peer = opened(sockets(app))
        first, second = frame(TEXT, b"one "), frame(FIN, b"message")
        assert read_frames(peer.feed(first + frame(FIN | PING, b"p") + second)) == [(PONG, b"p")]
        assert app.got == [received("one message")]

    def test_many_of_a_turn_leave_in_one_write(self, sockets: Work) -> None:
        async def burst(receive: Any, send: Any) -> None:
            await receive()
            for number in range(5):
                await send({"type": "websocket.send", "text": str(number)})
            await receive()

        peer = opened(sockets(Script(burst)))
        peer.put(text("go"))
        peer.wire.settle()
        assert len(peer.transport.writes) == 1
        assert [payload for _, payload in read_frames(peer.take())] == [b"0", b"1", b"2", b"3", b"4"]


class TestClose:
    def test_by_the_client(self, sockets: Work) -> None:
        app = Script()
        peer = opened(sockets(app))
        assert read_frames(peer.feed(close(3000, "für heute")))[0][1][:2] == (3000).to_bytes(2, "big")
        assert app.got == [disconnect(3000, "für heute")]
        assert peer.transport.closed

    def test_without_a_code(self, sockets: Work) -> None:
        app = Script()
        peer = opened(sockets(app))
        assert read_frames(peer.feed(close(None))) == [(CLOSE, b"")]
        assert app.got == [disconnect(1005)]

    def test_by_the_application(self, sockets: Work) -> None:
        async def body(receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
            assert await receive() == disconnect(4000, "enough")
            assert await receive() == disconnect(4000, "enough")

        app = Script(body)
        peer = opened(sockets(app))
        assert read_frames(peer.feed(text("go"))) == [closing(4000, "enough")]
        assert app.error is None
        assert not peer.ended
        assert peer.feed(text("late") + frame(FIN | PING, b"late")) in (b"", bytes([FIN | PONG, 4]) + b"late")
        assert peer.feed(close(4000)) == b""
        assert peer.transport.closed

    def test_the_client_s_close_is_read_behind_messages_that_nobody_takes(self, sockets: Work) -> None:
        async def body(receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.close"})

        peer = opened(sockets(Script(body), ws_max_queue=1))
        peer.feed(b"".join(text(str(number)) for number in range(10)))
        assert not peer.ended
        peer.feed(close(1000))
        assert peer.transport.closed

    @staticmethod
    def busy(work: Work) -> tuple[Script, asyncio.Event, Peer]:
        """An application that answers each message when the gate is open."""
        gate = asyncio.Event()

        async def body(receive: Any, send: Any) -> None:
            while (message := await receive())["type"] == "websocket.receive":
                await gate.wait()
                await send({**message, "type": "websocket.send"})

        app = Script(body)
        return app, gate, opened(work(app))

    def test_in_one_read_with_messages_it_waits_for_their_answers(self, work: Work) -> None:
        app, gate, peer = self.busy(work)
        assert peer.feed(text("1") + text("2") + close(3000, "why")) == b""
        assert peer.feed(text("late")) == b""
        peer.wire.call(gate.set)
        assert read_frames(peer.take()) == [(TEXT, b"1"), (TEXT, b"2"), closing(3000)]
        assert app.got == [received("1"), received("2"), disconnect(3000, "why")]
        assert peer.transport.closed

    def test_but_not_for_ever(self, work: Work) -> None:
        app, gate, peer = self.busy(work)
        assert peer.feed(text("1") + close(3000)) == b""
        peer.wire.advance(0.9)
        assert peer.take() == b""
        peer.wire.advance(0.2)
        assert read_frames(peer.take()) == [closing(3000)]
        peer.wire.call(gate.set)
        assert isinstance(app.error, ClientDisconnected)

    def test_nor_in_a_read_of_its_own(self, work: Work) -> None:
        """An application that only sends would keep the client."""
        app, gate, peer = self.busy(work)
        assert peer.feed(text("1")) == b""
        assert read_frames(peer.feed(close(3000))) == [closing(3000)]
        peer.wire.call(gate.set)
        assert isinstance(app.error, ClientDisconnected)

    def test_one_that_only_sends_is_not_waited_for_longer(self, work: Work) -> None:
        go_on = asyncio.Event()

        async def body(receive: Any, send: Any) -> None:
            while True:
                await go_on.wait()
                go_on.clear()
                await send({"type": "websocket.send", "text": "tick"})

        app = Script(body)
        peer = opened(work(app))
        assert peer.feed(text("1") + close(3000)) == b""
        peer.wire.call(go_on.set)
        assert read_frames(peer.take()) == [(TEXT, b"tick")]
        peer.wire.advance(1.1)
        assert read_frames(peer.take()) == [closing(3000)]
        peer.wire.call(go_on.set)
        assert isinstance(app.error, ClientDisconnected)

    @pytest.mark.parametrize("fails", [False, True])
    def test_the_application_ends_meanwhile(self, work: Work, fails: bool) -> None:
        """It was the client that closed."""

        async def body(receive: Any, send: Any) -> None:
            await receive()
            if fails:
                raise KeyError("mine")

        peer = opened(work(Script(body)))
        assert read_frames(peer.feed(text("1") + close(3000))) == [closing(3000)]
        assert peer.transport.closed

    def test_the_application_closes_meanwhile(self, work: Work) -> None:
        async def body(receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.close", "code": 4000})

        peer = opened(work(Script(body)))
        assert read_frames(peer.feed(text("1") + close(3000))) == [closing(4000)]
        assert peer.transport.closed

    def test_that_is_not_answered(self, sockets: Work) -> None:
        peer = sockets(Script(lambda receive, send: asyncio.sleep(0))).connect()
        assert split_response(peer.feed(upgrade()))[1] == [closing(1011)]
        assert not peer.ended
        peer.wire.advance(9)
        assert not peer.transport.closed
        peer.wire.advance(2)
        assert peer.transport.calls[-1] == "abort"

    @pytest.mark.parametrize("lose", [True, False])
    def test_the_connection_ends_before_a_close_frame(self, sockets: Work, lose: bool) -> None:
        app = Script()
        peer = opened(sockets(app))
        peer.lose() if lose else peer.eof()
        assert app.got == [GONE]
        assert peer.transport.closed

    @pytest.mark.parametrize("sockets", sorted(FRAMINGS), indirect=True)  # the transport of HTTP/2 goes on
    def test_a_fault_is_told_to_both(self, sockets: Work) -> None:
        app = Script()
        peer = opened(sockets(app))
        found = read_frames(peer.feed(frame(FIN | 0x40 | TEXT, b"x")))
        assert [(opcode, payload[:2]) for opcode, payload in found] == [(CLOSE, (1002).to_bytes(2, "big"))]
        assert [each["code"] for each in app.got] == [1002]
        # Writing ends, and what the client is still sending is read for a while: a reset would lose the close frame.
        assert peer.transport.calls == ["write_eof"]
        peer.feed(text("late"))
        peer.wire.advance(6)
        assert peer.transport.calls == ["write_eof", "abort"]

    def test_too_big(self, sockets: Work) -> None:
        app = Script()
        peer = opened(sockets(app, ws_max_size=1000))
        peer.feed(binary(b"x" * 1000))
        ((opcode, payload),) = read_frames(peer.feed(frame(FIN | BINARY, b"x" * 1001)))
        assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))
        assert [each.get("code") for each in app.got] == [None, 1009]

    def test_too_big_in_fragments(self, sockets: Work) -> None:
        peer = opened(sockets(Script(), ws_max_size=1000))
        ((_, payload),) = read_frames(peer.feed(fragments(BINARY, b"x" * 600, b"x" * 600)))
        assert payload[:2] == (1009).to_bytes(2, "big")

    def test_bad_text(self, sockets: Work) -> None:
        peer = opened(sockets(Script()))
        ((_, payload),) = read_frames(peer.feed(text(b"\xff")))
        assert payload[:2] == (1007).to_bytes(2, "big")


class TestStop:
    def test_1012_and_its_handshake(self, sockets: Work) -> None:
        app = Script()
        peer = opened(sockets(app))
        peer.wire.call(peer.wire.worker.drain)
        assert read_frames(peer.take()) == [closing(1012)]
        assert app.got == [disconnect(1012)]
        assert not peer.ended
        peer.feed(close(1012))
        assert peer.transport.closed

    @pytest.mark.parametrize("before", [False, True], ids=["open", "closing"])
    def test_a_close_frame_that_is_not_answered(self, sockets: Work, before: bool) -> None:
        """A client that is gone without a word does not hold up the stop for long."""
        if before:
            peer = sockets(Script(lambda receive, send: asyncio.sleep(0))).connect()
            peer.feed(upgrade())
        else:
            peer = opened(sockets(Script()))
        peer.wire.call(peer.wire.worker.drain)
        peer.wire.advance(2)
        assert not peer.transport.closed
        peer.wire.advance(2)
        assert peer.transport.calls[-1] == "abort"

    def test_a_client_that_takes_nothing_has_longer(self, work: Work) -> None:
        peer = opened(work(Script()))
        peer.wire.call(peer.connection.pause_writing)
        peer.wire.call(peer.wire.worker.drain)
        peer.wire.advance(9)
        assert not peer.transport.closed
        peer.wire.advance(2)
        assert peer.transport.calls[-1] == "abort"

    def test_a_handshake_that_is_not_answered(self, sockets: Work) -> None:
        got = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            got.append(await receive())
            got.append(await receive())

        peer = sockets(app).connect()
        assert peer.feed(upgrade()) == b""
        peer.wire.call(peer.wire.worker.drain)
        found, _ = split_response(peer.take())
        assert (found.status, found.closes) == (503, True)
        assert got == [{"type": "websocket.connect"}, disconnect(1012)]

    def test_accepted_while_stopping(self, sockets: Work) -> None:
        """An application that has begun to accept when the server stops: the WebSocket opens and closes at once."""
        app = Script()

        wire = sockets(app)
        first = wire.connect()
        wire.call(wire.worker.drain)
        peer = wire.connect()
        found, frames = split_response(peer.feed(upgrade()))
        assert (found.status, frames) == (101, [closing(1012)])
        assert app.got == [disconnect(1012)]
        assert first.transport.closed


def test_objects_are_counted(sockets: Work) -> None:
    peers = [opened(sockets(Script())) for _ in range(2)]
    assert counters.live()["websocket"] == 2
    # An open WebSocket that is idle holds no buffer.
    assert counters.live()["buffer"] == 0
    for peer in peers:
        peer.feed(close())
    assert all(peer.transport.lost for peer in peers)
