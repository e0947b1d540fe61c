"""One of the workers that there should be, and the processes that fill its place."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from fastserve.supervisors.process import Process

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
        self.inherited: list[list[socket.socket]] = []  # those of `own` that were another place's
        self.inherited_at = 0.0
        self.bequeathing: list[Process] = []  # that serve on until a worker of this place listens on these as well

    def failed(self, process: Process | None) -> float:
        """Take it that a worker came to nothing, None if it could not even be started; return the seconds to wait
        before the next one is.
        """
        self.failures = 1 if process is not None and process.served() >= STABLE_SECONDS else self.failures + 1
        delay = 0.0 if self.failures == 1 else min(FIRST_DELAY * 2.0 ** (self.failures - 2), LONGEST_DELAY)
        self.due = time.monotonic() + delay
        return delay

    def inherit(self, other: Slot) -> None:
        """Take over the sockets of a place that is given up, which would be closed with what waits in their queues."""
        self.inherited += [*other.inherited, other.own[: len(other.own) - sum(map(len, other.inherited))]]
        self.sockets = [*self.sockets, *other.own]
        self.own = [*self.own, *other.own]
        self.bequeathing += [each for each in (*other.bequeathing, other.current, other.successor) if each is not None]
        self.inherited_at = time.monotonic()
        other.own = []

    def disinherit(self) -> list[socket.socket]:
        """Return inherited sockets, for a new place, on which this one listens until its worker is replaced."""
        given = self.inherited.pop()
        self.sockets = [each for each in self.sockets if each not in given]
        self.own = [each for each in self.own if each not in given]
        return given

    def retired(self) -> list[Process]:
        """Return those that serve no longer because a worker of this place listens on all its sockets."""
        worker = self.current
        if worker is None or not worker.ready or worker.started_at < self.inherited_at:
            return []
        found, self.bequeathing = self.bequeathing, []
        return found

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
