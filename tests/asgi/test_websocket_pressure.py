"""WebSockets whose one side is faster than the other: what is not taken stops what is sent, and memory has bounds."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from typing import Any

import pytest
from asgi.gates import Gate
from core.frames import BINARY, CLOSE, FIN, PING, PONG, TEXT, binary, frame, text
from fakes.worker import FakeWorker, Peer
from ws import ACCEPTS, FRAMINGS, Clients, Script, close, closing, disconnect, framing_class, upgrade

MESSAGE = 10_000  # bytes
COUNT = 3000  # more than the sockets of both sides hold


class Numbers:
    """Takes messages when its gate is open and notes how many there were."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.count = 0
        self.code = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/barrier":
            await send({"type": "websocket.close"})
            return
        await send(ACCEPTS)
        await self.gate.wait()
        while (message := await receive())["type"] == "websocket.receive":
            assert int(message["bytes"][:8]) == self.count
            self.count += 1
        self.code = message["code"]


def test_the_queue_of_messages_stops_the_client(clients: Clients) -> None:
    """--ws-max-queue: its sends stall, and go on when the application takes what has come."""
    app = Numbers()
    client = clients(app, ws_max_queue=2, ws_per_message_deflate=False)
    client.open()
    data = memoryview(b"".join(frame(FIN | BINARY, b"%08d" % number, announced=MESSAGE) + bytes(MESSAGE - 8)
                               for number in range(COUNT)))  # fmt: skip
    sent, idle = 0, 0
    client.sock.setblocking(False)
    while sent < len(data) and idle < 5:
        try:
            sent += client.sock.send(data[sent:])
            idle = 0
        except BlockingIOError:
            clients().ask(upgrade("/barrier"))  # its response shows that the server's loop has gone round
            idle += 1
    assert sent < len(data), "the server has read all of it"
    assert app.count == 0
    client.sock.settimeout(60)
    app.gate.open()
    client.sock.sendall(data[sent:])
    client.send(close())
    assert client.frames() == [closing(1000)]
    clients.stop()
    assert (app.count, app.code) == (COUNT, 1000)


def test_send_waits_for_a_client_that_does_not_read(clients: Clients) -> None:
    progress = [0]
    waits = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/barrier":
            await send({"type": "websocket.close"})
            return
        await send(ACCEPTS)
        for _ in range(COUNT):
            await send({"type": "websocket.send", "bytes": bytes(MESSAGE)})
            progress[0] += 1
        await send({"type": "websocket.close"})
        waits.set()

    client = clients(app, ws_per_message_deflate=False)
    client.open()
    before, idle = -1, 0
    while idle < 5:
        clients().ask(upgrade("/barrier"))
        idle = idle + 1 if progress[0] == before else 0
        before = progress[0]
    assert before < COUNT, "all of it has been taken from the application"
    found = [client.frame() for _ in range(COUNT + 1)]
    assert found == [(BINARY, bytes(MESSAGE))] * COUNT + [closing(1000)]
    assert waits.wait(60)


def test_no_pong_in_time(clients: Clients) -> None:
    """--ws-ping-interval and --ws-ping-timeout."""
    app = Script()
    client = clients(app, ws_ping_interval=0.01, ws_ping_timeout=0.01)
    client.open()
    (ping, end) = client.frames()
    assert ping[0] == PING
    assert end == closing(1011, "keepalive ping timeout")
    clients.stop()
    assert app.got == [disconnect(1011, "keepalive ping timeout")]


def peer_of(app: Any, implementation: str, **settings: Any) -> tuple[FakeWorker, Peer]:
    wire = FakeWorker(app, framing=framing_class(implementation), **settings)
    peer = wire.connect()
    assert peer.feed(upgrade()).startswith(b"HTTP/1.1 101 ")
    return wire, peer


def grown(peer: Peer, data: bytes, reads: int = 12) -> int:
    """How much memory it takes that this comes again and again, as long as the server reads."""
    peer.feed(data[:0])
    tracemalloc.start()
    for _ in range(reads):
        if peer.transport.reading and not peer.transport.closed:
            peer.feed(data)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size


ONE_READ = 65536


@pytest.mark.parametrize("implementation", sorted(FRAMINGS))
class TestMemory:
    """Of one connection, whatever its client does; the reference implementations make objects of a whole read."""

    @pytest.mark.parametrize("size", [0, 1, 100, 60_000])
    def test_messages_that_nobody_takes(self, implementation: str, size: int) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(ACCEPTS)
            await asyncio.Event().wait()

        wire, peer = peer_of(app, implementation, ws_max_queue=32)
        one = binary(bytes(size))
        data = one * max(1, ONE_READ // len(one) // 8)
        assert grown(peer, data) < (400_000 if implementation == "auto" else 8_000_000)
        assert not peer.transport.reading
        wire.close()

    @pytest.mark.parametrize("piece", ["€".encode(), b"x", b""])
    def test_a_message_in_small_pieces(self, implementation: str, piece: bytes) -> None:
        """It takes no more than a few times its size, however many pieces it has."""
        wire, peer = peer_of(Script(), implementation, ws_max_size=1 << 20)
        peer.feed(frame(TEXT, piece))
        data = frame(0, piece) * 500
        count = 6
        assert grown(peer, data, count) < 4 * len(piece) * 500 * count + 60_000
        assert not peer.transport.closed
        wire.close()

    def test_a_message_that_is_announced(self, implementation: str) -> None:
        wire, peer = peer_of(Script(), implementation, ws_max_size=1 << 30)
        assert grown(peer, frame(FIN | BINARY, b"x" * 1000, announced=1 << 30), 1) < 100_000
        wire.close()

    def test_what_comes_after_a_close(self, implementation: str) -> None:
        wire, peer = peer_of(Script(), implementation)
        assert peer.feed(frame(FIN | 3))[0] == FIN | CLOSE
        assert grown(peer, text("late") * 500) < 100_000
        wire.close()


@pytest.mark.parametrize("implementation", sorted(set(FRAMINGS) - {"auto"}))
@pytest.mark.parametrize("offers", [(), ("Sec-WebSocket-Extensions: permessage-deflate",)])
def test_pieces_for_a_library(implementation: str, offers: tuple[str, ...]) -> None:
    """A library is not interrupted: it gets few small frames at once, and a large one in large pieces."""
    sizes: list[int] = []

    class Framing(framing_class(implementation)):  # type: ignore[misc]
        def receive(self, data: bytes) -> Any:
            sizes.append(len(data))
            return super().receive(data)

    wire = FakeWorker(Script(), framing=Framing)
    peer = wire.connect()
    assert peer.feed(upgrade("/", *offers)).startswith(b"HTTP/1.1 101 ")
    peer.feed(frame(FIN | PING) * 300 + frame(FIN | PONG) * 300)
    assert sum(sizes) == 600 * len(frame(FIN | PING))
    assert max(sizes) <= 1024
    sizes.clear()
    peer.feed(binary(bytes(60_000)))
    assert sum(sizes) == len(binary(bytes(60_000)))
    assert len(sizes) <= (16 if offers else 5)
    wire.close()
