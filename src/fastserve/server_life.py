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
from collections.abc import Callable, Iterator


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

    def wake(self) -> None:
        """End the sleeps whose condition is true now."""
        for sleep, ended in self._sleeping.items():
            if ended():
                end(sleep)


def end(sleep: asyncio.Future[None]) -> None:
    if not sleep.done():
        sleep.set_result(None)
