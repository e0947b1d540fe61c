"""The application of the soak and overload tests: each path does one thing, and /state says how the server is."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any

from fastserve._core import counters

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

PIECE = bytes(65536)
RETRY_SECONDS = 0.2
BUSY_SECONDS = 0.1
sends = {"done": 0, "waiting": 0}
server: list[tuple[str, int]] = []  # its address
hoarded: list[IO[bytes] | socket.socket] = []
libc = ctypes.CDLL(None)


class Planned(Exception):
    """Raised where a request asks for it."""


async def respond(send: Send, body: bytes = b"ok", status: int = 200) -> None:
    length = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": length})
    await send({"type": "http.response.body", "body": body})


async def read(receive: Receive) -> bytes | None:
    data = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        data += message["body"]
        if not message["more_body"]:
            return bytes(data)


def private_memory() -> int:
    """The bytes of memory that no other process shares."""
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def state() -> dict[str, Any]:
    gc.collect()
    libc.malloc_trim(0)
    return {
        "live": counters.live(),
        "memory": private_memory(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "asyncio_tasks": len(asyncio.all_tasks()),
        "sends": dict(sends),
        "processor": sum(os.times()[:2]),
    }


async def hello(receive: Receive, send: Send) -> None:
    await respond(send)


async def echo(receive: Receive, send: Send) -> None:
    data = await read(receive)
    if data is not None:
        await respond(send, data)


async def unread(receive: Receive, send: Send) -> None:
    """Answer without reading the body."""
    await respond(send, b"unread")


async def failing(receive: Receive, send: Send) -> None:
    await read(receive)
    raise Planned("before the response")


async def failing_late(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})
    raise Planned("in the response")


async def stream(receive: Receive, send: Send) -> None:
    """Send small pieces until the client is gone."""
    await send({"type": "http.response.start", "status": 200})
    while True:
        await send({"type": "http.response.body", "body": b"0123456789abcdef" * 16, "more_body": True})
        await asyncio.sleep(0)


async def bytewise(receive: Receive, send: Send) -> None:
    """Send a short body byte by byte, each in a write of its own."""
    await send({"type": "http.response.start", "status": 200})
    for byte in b"0123456789" * 5:
        await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body"})


async def endless(receive: Receive, send: Send) -> None:
    """Send large pieces without an end, and count in `sends` how many are done and how many wait."""
    await send({"type": "http.response.start", "status": 200})
    while True:
        sends["waiting"] += 1
        try:
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        finally:
            sends["waiting"] -= 1
        sends["done"] += 1


async def large(receive: Receive, send: Send) -> None:
    await respond(send, PIECE * 4)


async def megabyte(receive: Receive, send: Send) -> None:
    await respond(send, PIECE * 16)


async def clock(receive: Receive, send: Send) -> None:
    """Answer with the processor time of the process at a moment when the response's beginning has left."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b" ", "more_body": True})
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"%.9f" % time.process_time()})


async def busy(receive: Receive, send: Send) -> None:
    """Keep the loop for longer than another client may have to wait."""
    end = time.process_time() + BUSY_SECONDS
    while time.process_time() < end:
        pass
    await respond(send)


async def slow(receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.001)
    await respond(send, b"slow")


async def waiting(receive: Receive, send: Send) -> None:
    """Read the body and wait until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def stuck(receive: Receive, send: Send) -> None:
    """Read nothing and say nothing."""
    await asyncio.Event().wait()


async def hoard(receive: Receive, send: Send) -> None:
    """Take every descriptor, the last for a client of this server, which is there before the loop can look."""
    asyncio.constants.ACCEPT_RETRY_DELAY = RETRY_SECONDS  # type: ignore[attr-defined]
    with contextlib.suppress(OSError):
        while True:
            hoarded.append(open(os.devnull, "rb"))  # noqa: PTH123, SIM115, ASYNC230
    hoarded.pop().close()
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(server[0])
    hoarded.append(client)
    await respond(send)


async def release(receive: Receive, send: Send) -> None:
    """Give all of them back, and answer when asyncio has tried again to accept."""
    while hoarded:
        hoarded.pop().close()
    await asyncio.sleep(2 * RETRY_SECONDS)
    await respond(send)


async def show_state(receive: Receive, send: Send) -> None:
    await respond(send, json.dumps(state()).encode())


PATHS: dict[str, Callable[[Receive, Send], Awaitable[None]]] = {
    "/": hello,
    "/echo": echo,
    "/unread": unread,
    "/failing": failing,
    "/failing-late": failing_late,
    "/stream": stream,
    "/bytewise": bytewise,
    "/endless": endless,
    "/large": large,
    "/megabyte": megabyte,
    "/slow": slow,
    "/clock": clock,
    "/busy": busy,
    "/waiting": waiting,
    "/stuck": stuck,
    "/hoard": hoard,
    "/release": release,
    "/state": show_state,
}


async def socket_echo(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def socket_endless(receive: Receive, send: Send) -> None:
    """The same as endless() in messages."""
    while True:
        sends["waiting"] += 1
        try:
            await send({"type": "websocket.send", "bytes": PIECE})
        finally:
            sends["waiting"] -= 1
        sends["done"] += 1


SOCKETS: dict[str, Callable[[Receive, Send], Awaitable[None]]] = {
    "/echo": socket_echo,
    "/endless": socket_endless,
    "/stuck": stuck,
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await SOCKETS[scope["path"]](receive, send)
        return
    assert scope["type"] == "http"
    if not server:
        server.append(tuple(scope["server"]))
    await PATHS[scope["path"]](receive, send)
