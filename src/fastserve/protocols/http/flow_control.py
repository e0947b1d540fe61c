"""Pausing and resuming a transport's two directions."""

from __future__ import annotations

import asyncio
import select

from fastserve._types import Receive, Scope, Send

__all__ = ["CLOSE_HEADER", "HIGH_WATER_LIMIT", "FlowControl", "service_unavailable"]

CLOSE_HEADER = (b"connection", b"close")
HIGH_WATER_LIMIT = 65536  # bytes that may be read ahead of their use


class FlowControl:
    """The two directions of a transport: reading can be paused, and writing can be waited for."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = False
        self.write_paused = False
        self._writable = asyncio.Event()
        self._writable.set()

    async def drain(self) -> None:
        """Return once the client has taken enough of what was written."""
        await self._writable.wait()

    def peer_has_ended(self) -> bool:
        """Return whether the client has ended its side, as far as the system shows while reading is paused."""
        sock = self._transport.get_extra_info("socket")
        if sock is None or not hasattr(select, "POLLRDHUP"):
            return False
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self.write_paused = False
        self._writable.set()


async def service_unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to a request beyond limit_concurrency, as an ASGI application."""
    body = b"Service Unavailable"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        CLOSE_HEADER,
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
