"""A timer of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """At most one timer at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float, expired: Callable[[], None]) -> None:
        """Call `expired` in so many seconds, unless something else is started before; 0 is never."""
        self.stop()
        if seconds:
            self.handle = self.loop.call_later(seconds, expired)

    def stop(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
