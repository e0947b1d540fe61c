"""What a test waits for: things that happen inside a served application, told to the outside by name."""

from __future__ import annotations

import asyncio
from collections import defaultdict


class Events:
    """Named events of one application; a test waits by asking an address whose handler awaits wait()."""

    def __init__(self) -> None:
        self._events: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def fire(self, name: str) -> None:
        """The event has happened, for all who wait and all who will."""
        self._events[name].set()

    async def wait(self, name: str) -> None:
        """Returns once fire(name) was called."""
        await self._events[name].wait()


class Crowd:
    """Lets a known number of requests meet: each calls arrive(), and a test sees them all there before it opens."""

    def __init__(self) -> None:
        self.present = 0
        self._changed = asyncio.Condition()
        self._open = asyncio.Event()

    async def arrive(self) -> None:
        """Counts the caller as present and holds it until open()."""
        async with self._changed:
            self.present += 1
            self._changed.notify_all()
        await self._open.wait()

    async def full(self, number: int) -> None:
        """Returns once `number` callers are present."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.present >= number)

    def open(self) -> None:
        """Lets everybody go."""
        self._open.set()
