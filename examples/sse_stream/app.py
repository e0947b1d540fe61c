"""Server-sent events without a framework: the time, once a second, for as long as the client stays."""

import asyncio
from datetime import datetime, timezone
from typing import Any

HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx passes each event on at once
]


def event(number: int) -> bytes:
    """One event: its id, which the browser repeats as Last-Event-ID when it connects again, and its text."""
    return f"id: {number}\ndata: {datetime.now(timezone.utc):%H:%M:%S}\n\n".encode()


async def stream(send: Any, number: int) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    while True:
        await send({"type": "http.response.body", "body": event(number), "more_body": True})
        number += 1
        await asyncio.sleep(1)


async def gone(receive: Any) -> None:
    """Return once the client has left, or the server stops."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    headers = dict(scope["headers"])
    last = headers.get(b"last-event-id", b"")
    streaming = asyncio.create_task(stream(send, int(last) + 1 if last.isdigit() else 0))
    try:
        await gone(receive)
    finally:
        streaming.cancel()
