"""The timers of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """At most one timer at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float, expired: Callable[[], None]) -> None:
        """Call `expired` after this many seconds unless another timer is started before; 0: never."""
        self.stop()
        if seconds:
            self.handle = self.loop.call_later(seconds, expired)

    def keep(self, seconds: float, expired: Callable[[], None], needed: Callable[[], bool]) -> None:
        """Start a timer unless one is running. It calls `expired` only if `needed()` is true by then."""
        if seconds and self.handle is None:
            self.handle = self.loop.call_later(seconds, self.end, expired, needed)

    def end(self, expired: Callable[[], None], needed: Callable[[], bool]) -> None:
        self.handle = None
        if needed():
            expired()

    def stop(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None


class WriteDeadline(Deadline):
    """The timer of a client that does not take what is written: `expired` is called once it has not taken a byte."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.transport = transport
        self.stuck = 0  # bytes that the client had not taken when the timer was started

    def watch(self, seconds: float, expired: Callable[[], None]) -> None:
        self.stuck = self.transport.get_write_buffer_size()
        self.start(seconds, lambda: self.look(seconds, expired))

    def look(self, seconds: float, expired: Callable[[], None]) -> None:
        if self.transport.get_write_buffer_size() < self.stuck:
            self.watch(seconds, expired)
        else:
            expired()
