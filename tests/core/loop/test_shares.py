"""Clients that send without pause: what others, and the loop, must wait for them, by the core's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import FIN, PING, TEXT, frame, text
from fakes.worker import TIME, FakeWorker, Peer, chunked, get, respond
from ws import FRAMINGS, framing_class, read_frames, upgrade

Work = Callable[..., FakeWorker]

READ = 70_000  # bytes that the loop reads at a time; uvloop reads more
READS = 32  # at most in one event, as long as each of them is full
READ_SECONDS = 0.003  # that such a read takes to be parsed, when it is of the smallest frames, chunks or requests
STEP = 0.0001  # seconds that the application takes for a request or a message
MOST = 0.05  # seconds that others may have to wait
TURNS = 12


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            TIME.spin(STEP)
            await send({"type": "websocket.send", "text": message["text"]})
    elif scope["method"] == "POST":
        more = True
        while more:
            more = (await receive()).get("more_body", False)
            TIME.spin(STEP)
        await respond(send)
    else:
        TIME.spin(STEP)
        await respond(send)


class Flood:
    """A client whose bytes never end; the loop reads them as libuv does."""

    def __init__(self, wire: FakeWorker, data: bytes, first: bytes = b"") -> None:
        self.peer = wire.connect()
        self.data = (data * (READ // len(data) + 1))[: READ // len(data) * len(data)]
        if first:
            self.peer.feed(first)
        wire.loop.call_soon(self.readable)

    def readable(self) -> None:
        transport = self.peer.transport
        if transport.closed:
            return
        for _ in range(READS):
            if not transport.reading or transport.closed:
                break
            TIME.spin(READ_SECONDS)
            self.peer.connection.data_received(self.data)
        transport.writes.clear()
        self.peer.wire.loop.call_soon(self.readable)


class Victim:
    """A client that asks for something again and again, and notes how long it waits."""

    def __init__(self, wire: FakeWorker) -> None:
        self.peer: Peer = wire.connect()
        self.waited: list[float] = []
        self.asked: float | None = None

    def go_on(self) -> None:
        if self.asked is not None and self.peer.take():
            self.waited.append(TIME.when - self.asked)
            self.asked = None
        if self.asked is None:
            self.asked = TIME.when
            self.peer.put(get("/victim"))


def slow_framing(name: str) -> Any:
    """A class that makes and reads frames as `name` does, and takes the core's time for it; None for the core's own."""
    framing = framing_class(name)
    if framing is None:
        return None

    class Slow(framing):  # type: ignore[misc, valid-type]
        def receive(self, data: bytes) -> Any:
            TIME.spin(len(data) * 1e-7)
            return super().receive(data)

    return Slow


HANDSHAKE = upgrade("/flood")
REQUESTS = {
    "pipelined requests": (get(), b""),
    "a body": (b"x" * 64, get("/", "Content-Length: 1000000000000", method="POST")),
    "a body in small chunks": (b"1\r\nx\r\n" * 100, chunked([])[:-5]),
}
FRAMES = {
    "messages": (text("a"), HANDSHAKE),
    "long messages": (text("a" * 2000), HANDSHAKE),
    "pings": (frame(FIN | PING, b""), HANDSHAKE),
    "fragments": (frame(0, b""), HANDSHAKE + frame(TEXT, b"")),
}


def check(wire: FakeWorker, count: int, data: bytes, first: bytes) -> None:
    victim = Victim(wire)
    floods = [Flood(wire, data, first) for _ in range(count)]
    took = []
    for _ in range(TURNS):
        victim.go_on()
        before = TIME.when
        wire.turn()
        took.append(TIME.when - before)
    assert max(took) < MOST
    assert max(victim.waited) < MOST
    assert len(victim.waited) > TURNS // 4
    for flood in floods:
        flood.peer.connection.abort()
    wire.settle()


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("kind", REQUESTS)
def test_http(work: Work, kind: str, count: int) -> None:
    check(work(app), count, *REQUESTS[kind])


@pytest.mark.parametrize(("framing", "count"), [("auto", 1), ("auto", 4), ("websockets", 2), ("wsproto", 2)])
@pytest.mark.parametrize("kind", FRAMES)
def test_websockets(work: Work, framing: str, kind: str, count: int) -> None:
    check(work(app, framing=slow_framing(framing), ws_per_message_deflate=False), count, *FRAMES[kind])


@pytest.mark.parametrize("framing", sorted(FRAMINGS))
def test_nothing_is_lost_or_out_of_order(work: Work, framing: str) -> None:
    """However often the application, the reads and the parser are interrupted."""
    wire = work(app, framing=slow_framing(framing), ws_per_message_deflate=False)
    peer = wire.connect()
    peer.feed(HANDSHAKE)
    peer.take()
    sent = [f"{number}" * 40 for number in range(9000)]
    data = b"".join(map(text, sent))
    for at in range(0, len(data), READ):
        while not peer.transport.reading:
            wire.turn()
        peer.put(data[at : at + READ])
        wire.turn()
    for _ in range(2000):
        wire.turn()
    frames = read_frames(peer.take())
    assert [payload.decode() for _, payload in frames] == sent
    peer.lose()


def test_an_application_that_gives_the_loop_turns(work: Work) -> None:
    """It goes on in a callback of the loop, in its own context, where the end of its share is due as well."""
    seen: list[str] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            await asyncio.sleep(0)
            TIME.spin(0.002)  # more than its share
            seen.append(message["text"])

    wire = work(slow)
    peer = wire.connect()
    peer.feed(HANDSHAKE)
    peer.put(b"".join(text(str(number)) for number in range(10)))
    wire.turn(100)
    assert seen == [str(number) for number in range(10)]
    assert wire.unhandled == []
    peer.lose()
