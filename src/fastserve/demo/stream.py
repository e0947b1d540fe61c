"""/stream: a response that is made while it is sent, a line every tenth of a second."""

from __future__ import annotations

import asyncio
import time

from fastserve.demo import asgi
from fastserve.demo.asgi import Receive, Scope, Send

LINES = 20
INTERVAL = 0.1


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Send LINES lines, INTERVAL seconds apart, each with the moment it was sent. Stop when the client leaves."""
    # nginx and its relatives buffer a response unless this header forbids it.
    headers = [(b"content-type", asgi.TEXT), *asgi.COMMON, (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["method"] != "HEAD":
        await _lines(send)
    await send({"type": "http.response.body", "body": b""})


async def _lines(send: Send) -> None:
    started = time.perf_counter()
    for number in range(1, LINES + 1):
        elapsed = time.perf_counter() - started
        line = f"line {number:2} of {LINES}, sent after {elapsed:.3f} s\n"
        await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
        if number < LINES:
            await asyncio.sleep(max(0.0, started + number * INTERVAL - time.perf_counter()))
