"""What a client sent before a fault of its own is dealt with before the WebSocket closes for it (RFC 6455, 7.1.7)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import Running, Serve, read_all

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
KEY = bytes(4)
HI, HO = b"\x81\x82" + KEY + b"hi", b"\x81\x82" + KEY + b"ho"
RESERVED_BIT = b"\xc1\x82" + KEY + b"no"
RESERVED_OPCODE = b"\x83\x80" + KEY
LONE_CONTINUATION = b"\x80\x80" + KEY
FAULTS = [RESERVED_BIT, RESERVED_OPCODE, LONE_CONTINUATION]


class Echo:
    """Echoes after a moment in which other things run; `ended` tells what the last receive() gave."""

    def __init__(self) -> None:
        self.ended: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await asyncio.sleep(0)
            await send({"type": "websocket.send", "text": message["text"]})
        self.ended.append(message)


def talk(server: Running, frames: bytes) -> bytes:
    """Everything after the handshake that comes back when the frames are sent in one piece."""
    with server.connect() as sock:
        sock.sendall(HANDSHAKE)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536)
        sock.sendall(frames)
        return head.partition(b"\r\n\r\n")[2] + read_all(sock)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("before", [HI, HI + HO, HI * 100])
def test_the_echoes_come_before_the_close(serve: Serve, before: bytes, fault: bytes) -> None:
    app = Echo()
    answer = talk(serve(app), before + fault + HI)
    echoes = before.replace(b"\x82" + KEY, b"\x02")
    assert answer.startswith(echoes)
    assert answer[len(echoes)] == 0x88
    assert answer[len(echoes) + 2 : len(echoes) + 4] == (1002).to_bytes(2, "big")
    assert answer.count(b"\x81") == before.count(b"\x81")
    assert [(message["type"], message["code"]) for message in app.ended] == [("websocket.disconnect", 1002)]


@pytest.mark.parametrize("fault", FAULTS)
def test_at_once_while_the_application_waits(serve: Serve, fault: bytes) -> None:
    answer = talk(serve(Echo()), fault)
    assert (answer[0], answer[2:4]) == (0x88, (1002).to_bytes(2, "big"))


def test_at_once_when_nothing_was_sent_before(serve: Serve) -> None:
    """An application that only sends does not keep a faulty client."""
    sending: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sending.append((asyncio.get_running_loop(), asyncio.Event()))
        await sending[0][1].wait()

    answer = talk(serve(app), RESERVED_BIT)
    loop, done = sending[0]
    loop.call_soon_threadsafe(done.set)
    assert (answer[0], answer[2:4]) == (0x88, (1002).to_bytes(2, "big"))


def test_an_application_that_closes_meanwhile(serve: Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.close", "code": 4000})

    assert talk(serve(app), HI + RESERVED_BIT) == b"\x88\x02" + (4000).to_bytes(2, "big")
