"""The life of a server: the phase that it is in, and the phases that it has been told to go on to.

    STARTING     the application's lifespan starts, then the server listens; a server that cannot start stays here
    SERVING      until should_exit, or a tick that says so
    LINGERING    still serving, each response the last of its connection; left out by most servers
    DRAINING     not listening any more; requests under way finish, then the lifespan ends
    STOPPED      nothing is left

Phases follow one another in this order, and only `Server` enters them. Being told of a phase ends the wait of the one
before: LINGERING that of SERVING (uvicorn's `should_exit`), DRAINING that of LINGERING, STOPPED that of DRAINING
(uvicorn's `force_exit`, which counts once the server has been told to stop at all). uvicorn's `started` is every phase
after STARTING.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

TICK = 0.1  # seconds between two calls of on_tick(), and the longest between two checks of what is waited for


class Phase(enum.IntEnum):
    """Where a server is in its life."""

    STARTING = 0
    SERVING = 1
    LINGERING = 2
    DRAINING = 3
    STOPPED = 4


class Cause(enum.Enum):
    """Why a server stops, where that changes how it does."""

    REPLACED = "another process has taken over"
    CANCELLED = "serve() was cancelled"


class Life:
    """The phase of one server, what it has been told, and sleeps that end as soon as it is told something.

    tell() may be called from any thread and in signal handlers, everything else by the server's loop.
    """

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.cause: Cause | None = None
        # A set, as adding to it is atomic: a signal handler may interrupt a thread that tells something as well.
        self.told: set[Phase] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sleeping: dict[asyncio.Future[None], Callable[[], bool]] = {}  # with what ends the sleep

    def tell(self, phase: Phase, told: bool = True) -> None:
        """Tell the server to go on to a phase, or take that back, and wake it."""
        if told:
            self.told.add(phase)
        else:
            self.told.discard(phase)
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self.wake)

    @contextlib.contextmanager
    def within(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Wake sleeps of this loop during the block."""
        self._loop = loop
        try:
            yield
        finally:
            self._loop = None

    @property
    def is_forced(self) -> bool:
        """Whether the server is told to exit at once: it waits for nothing any more."""
        return Phase.STOPPED in self.told

    async def until(self, done: Callable[[], bool], seconds: float = math.inf) -> None:
        """Return once `done()` is true, the server is forced to exit, or `seconds` have passed."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        pause = 0.001
        while not done() and not self.is_forced and clock() < deadline:
            await self.sleep(pause, lambda: self.is_forced)
            pause = min(2 * pause, TICK)

    async def unless_forced(self, work: Coroutine[Any, Any, None]) -> None:
        """Await `work`; cancel it if the server is told to stop and is forced to exit."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda task: self.wake())
        try:
            while not task.done() and not self.gives_up:
                await self.sleep(TICK, lambda: task.done() or self.gives_up)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    @property
    def gives_up(self) -> bool:
        """Whether the server is forced to exit, and has been told to stop at all."""
        return self.is_forced and (Phase.LINGERING in self.told or self.phase >= Phase.DRAINING)

    async def sleep(self, seconds: float, ended: Callable[[], bool]) -> None:
        """Sleep, but not when `ended()` is true, now or at a wake()."""
        if ended():
            return
        loop = asyncio.get_running_loop()
        sleep: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, end, sleep)
        self._sleeping[sleep] = ended
        try:
            await sleep
        finally:
            del self._sleeping[sleep]
            timer.cancel()

    async def tick(self, ended: Callable[[], bool], most: float = math.inf) -> None:
        """Sleep until the next tick, for `most` seconds at most, or until `ended()` is true at a wake()."""
        await self.sleep(min(TICK, most), ended)

    def wake(self) -> None:
        """End the sleeps whose condition is true now."""
        for sleep, ended in self._sleeping.items():
            if ended():
                end(sleep)


def end(sleep: asyncio.Future[None]) -> None:
    if not sleep.done():
        sleep.set_result(None)
