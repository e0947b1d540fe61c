"""Connections that are closed, except that their clients still send: fastserve._core.transport.lingering in Python."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Protocol

from fastserve.protocols import utils

SILENT_SECONDS = 5.0  # without a byte of the client
UNENDED_SECONDS = 1.0  # the same, if the client may be waiting for the end
TOTAL_SECONDS = 30.0
STOP_SECONDS = 0.2  # once the server stops
LOOK_SECONDS = 0.01
MOST = 256  # of a server
LAST_DATA_RECEIVED = 52  # its offset in Linux's struct tcp_info


class State(Protocol):
    """What a Lingering asks of the state of its server."""

    lingering: dict[Lingering, None]
    stopping: bool


class Lingering:
    """Ends the writing side of `transport`, and the connection once its client has had time to read the response.

    `more`: the client has not sent all of its request. If the transport cannot read after its writing side has ended,
    that end is put off as well.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, state: State, more: bool) -> None:
        self.transport = transport
        self.loop = loop
        self.state = state
        self.handle: asyncio.TimerHandle | None = None
        if len(state.lingering) >= MOST:
            next(iter(state.lingering)).end()
        state.lingering[self] = None
        self.last_heard = loop.time()
        self.latest = self.last_heard + TOTAL_SECONDS
        self.hurried = False
        # asyncio's TLS transports break off at a byte that comes after their close_notify.
        self.unended = more and not transport.can_write_eof() and not type(loop).__module__.startswith("uvloop")
        if transport.can_write_eof():
            transport.write_eof()
        elif not self.unended:
            transport.close()  # TLS: what still arrives is dropped without a report
        self.silent_seconds = UNENDED_SECONDS if self.unended else SILENT_SECONDS
        self.look_later(self.silent_seconds)
        if state.stopping:
            self.hurry()

    def heard(self) -> None:
        """Note that the client has sent something."""
        self.last_heard = self.loop.time()

    def hurry(self) -> None:
        """End as soon as the client has received everything, or STOP_SECONDS after it was written."""
        if self.unended:
            self.end()
        elif self in self.state.lingering and not self.hurried:
            self.hurried = True
            self.latest = self.loop.time() + STOP_SECONDS
            self.look_later(LOOK_SECONDS)

    def lost(self) -> None:
        """Note that the connection is closed."""
        self.state.lingering.pop(self, None)
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None

    def end(self) -> None:
        if self.unended:
            self.unended = False
            self.transport.close()
            self.hurry()
            return
        self.lost()
        if self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()

    def look_later(self, seconds: float) -> None:
        if self.handle is not None:
            self.handle.cancel()
        self.handle = self.loop.call_later(max(0.0, seconds), self.look)

    def look(self) -> None:
        now = self.loop.time()
        self.handle = None
        if self.transport.get_write_buffer_size():  # unread output has a deadline of its own
            self.latest = now + (STOP_SECONDS if self.hurried else TOTAL_SECONDS)
            self.last_heard = now
        silence = now - self.last_heard
        if utils.is_ssl(self.transport) and not self.unended:
            silence = min(silence, silence_of(self.transport, silence))
        if now >= self.latest:
            self.end()
        elif self.hurried:
            if self.transport.get_write_buffer_size() == 0 and unacknowledged(self.transport) == 0:
                self.end()
            else:
                self.look_later(LOOK_SECONDS)
        elif silence >= self.silent_seconds:
            self.end()
        else:
            self.look_later(min(self.silent_seconds - silence, self.latest - now))


def unacknowledged(transport: asyncio.Transport) -> int:
    """Return how many bytes the client's kernel has not received, -1 if unknown."""
    sock = transport.get_extra_info("socket")
    try:
        import fcntl
        import termios

        left: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    except (ImportError, AttributeError, OSError, ValueError):
        return -1
    return left


def silence_of(transport: asyncio.Transport, unknown: float) -> float:
    """Return how many seconds ago the client's last byte arrived, or `unknown`."""
    sock = transport.get_extra_info("socket")
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return float(struct.unpack_from("I", info, LAST_DATA_RECEIVED)[0]) / 1000
    except (AttributeError, OSError, struct.error):
        return unknown
