"""Connections that are closed but for what their clients still send, as in fastserve._core.transport.lingering."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Protocol

from fastserve.protocols import utils

SILENT_SECONDS = 5.0  # without a byte of the client
UNENDED_SECONDS = 1.0  # the same, where the client may be waiting for the end
TOTAL_SECONDS = 30.0
STOP_SECONDS = 0.2  # once the server stops
LOOK_SECONDS = 0.01
MOST = 256  # of a server
LAST_DATA_RECEIVED = 52  # where it is in Linux' struct tcp_info


class State(Protocol):
    """What a Lingering asks of the state of its server."""

    lingering: dict[Lingering, None]
    stopping: bool


class Lingering:
    """Ends the writing side of `transport`, and the connection when its client has had the time to read its answer.

    `more` says that the client has not sent all of its request: where a transport cannot read on after it has ended its
    writing side, that waits as well.
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
            transport.close()  # TLS: what still comes is dropped, and never heard of
        self.silent_seconds = UNENDED_SECONDS if self.unended else SILENT_SECONDS
        self.look_later(self.silent_seconds)
        if state.stopping:
            self.hurry()

    def heard(self) -> None:
        """The client has sent something."""
        self.last_heard = self.loop.time()

    def hurry(self) -> None:
        """The server stops: end as soon as the client has everything, or STOP_SECONDS after it was written."""
        if self.unended:
            self.end()
        elif self in self.state.lingering and not self.hurried:
            self.hurried = True
            self.latest = self.loop.time() + STOP_SECONDS
            self.look_later(LOOK_SECONDS)

    def lost(self) -> None:
        """The connection is closed."""
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
        if self.transport.get_write_buffer_size():  # what the client does not take has a deadline of its own
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
    """Return how many bytes the client's kernel has not got, -1 where that is not known."""
    sock = transport.get_extra_info("socket")
    try:
        import fcntl
        import termios

        left: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    except (ImportError, AttributeError, OSError, ValueError):
        return -1
    return left


def silence_of(transport: asyncio.Transport, unknown: float) -> float:
    """Return how many seconds ago the client's last byte came, `unknown` where that is not known."""
    sock = transport.get_extra_info("socket")
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return float(struct.unpack_from("I", info, LAST_DATA_RECEIVED)[0]) / 1000
    except (AttributeError, OSError, struct.error):
        return unknown
