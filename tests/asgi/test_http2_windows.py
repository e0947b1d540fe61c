"""HTTP/2 clients with small windows that give back each frame as it comes, over a socket."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any

import pytest
import support
from fakes.http2 import (
    DATA,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    Frame,
    headers,
    parse,
    settings,
    window_update,
)

PIECE = 33_333  # of a size that all the windows cut smaller and smaller, were it not for what is tested
COUNT = (20 << 20) // PIECE
SMALL = 256
SECONDS = 60


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    for number in range(1, COUNT + 1):
        await send({"type": "http.response.body", "body": bytes(PIECE), "more_body": number < COUNT})


async def sizes_taken(sock: socket.socket) -> list[int]:
    """Give each frame back for itself, with two turns of the server's loop after that; return how large they were."""
    sizes: list[int] = []
    heard: deque[Frame] = deque()
    rest = b""
    while True:
        try:
            data = sock.recv(1 << 16)
        except BlockingIOError:
            data = b"" if heard else await asyncio.get_running_loop().sock_recv(sock, 1 << 16)
        found, rest = parse(rest + data)
        heard += found
        each = heard.popleft() if heard else None
        if each is None:
            continue
        assert each.type != GOAWAY, each.payload
        if each.type == DATA:
            size = len(each.payload)
            sizes.append(size)
            sock.send(window_update(0, size) + window_update(1, size))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if each.ends:
            return sizes


@pytest.mark.parametrize("window", [20_000, 30_000, 50_000, 65_535])
def test_a_long_response_comes_to_its_end(serve: support.Serve, window: int) -> None:
    running = serve(app)
    with running.connect() as sock:
        sock.sendall(PREFACE + settings((INITIAL_WINDOW_SIZE, window)) + headers(1))
        sock.setblocking(False)
        sizes = asyncio.run_coroutine_threadsafe(sizes_taken(sock), running.server.loop).result(SECONDS)
    assert sum(sizes) == COUNT * PIECE
    assert sum(size < SMALL for size in sizes) <= COUNT + 10  # the end of each piece, whatever the window is
