"""One of the workers that there should be, and the processes that fill its place."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from fastserve.supervisor.worker import Process

STABLE_SECONDS = 10.0  # a worker that has served for so long was no failure
FIRST_DELAY = 0.5  # seconds before a worker that failed twice in a row is started again
LONGEST_DELAY = 30.0


class Slot:
    """A place for one worker: the process that serves in it, and the one that is to take over."""

    def __init__(self, sockets: list[socket.socket], own: list[socket.socket]) -> None:
        self.sockets = sockets  # that its worker listens on
        self.own = own  # those of them that are closed with the slot
        self.current: Process | None = None
        self.successor: Process | None = None
        self.failures = 0  # in a row: workers that ended soon, or that could not be replaced
        self.due = 0.0  # when to start the next worker, while there is none
        self.initial = True  # no worker of it has served yet

    def failed(self, process: Process | None) -> float:
        """Take it that a worker came to nothing, None if it could not even be started; return the seconds to wait
        before the next one is.
        """
        self.failures = 1 if process is not None and process.served() >= STABLE_SECONDS else self.failures + 1
        delay = 0.0 if self.failures == 1 else min(FIRST_DELAY * 2.0 ** (self.failures - 2), LONGEST_DELAY)
        self.due = time.monotonic() + delay
        return delay

    def close(self) -> None:
        for sock in self.own:
            sock.close()


@dataclass
class Replacement:
    """A worker that is to be replaced."""

    slot: Slot
    process: Process
    reason: str
    restart: bool = False  # on SIGHUP, as one of all
    due: float = 0.0  # not before
