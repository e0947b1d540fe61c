"""The place of one worker, and the processes that fill it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from fastserve.supervisors.process import Process

STABLE_SECONDS = 10.0  # a worker that served this long did not fail
FIRST_DELAY = 0.5  # seconds before the restart of a worker that failed twice in a row
LONGEST_DELAY = 30.0


class Slot:
    """A place for one worker: the process that serves in it, and the one that will take over."""

    def __init__(self, sockets: list[socket.socket], own: list[socket.socket], place: int = 0) -> None:
        self.place = place  # among all, from 0
        self.sockets = sockets  # that its worker listens on
        self.own = own  # those of them that are closed with the slot
        self.current: Process | None = None
        self.successor: Process | None = None
        self.failures = 0  # in a row: workers that ended early or could not be replaced
        self.due = 0.0  # when to start the next worker, if there is none
        self.initial = True  # none of its workers has served yet
        self.received: list[list[socket.socket]] = []  # those of `own` that came from other slots
        self.received_at = 0.0
        self.handing_over: list[Process] = []  # that keep serving until a worker of this slot listens on these as well

    def failed(self, process: Process | None) -> float:
        """Record that `process` failed (None: could not be started). Return the back-off in seconds."""
        self.failures = 1 if process is not None and process.served() >= STABLE_SECONDS else self.failures + 1
        delay = 0.0 if self.failures == 1 else min(FIRST_DELAY * 2.0 ** (self.failures - 2), LONGEST_DELAY)
        self.due = time.monotonic() + delay
        return delay

    def receive(self, other: Slot) -> None:
        """Take over the sockets of a removed slot: closing them would reset the connections in their queues."""
        self.received += [*other.received, other.own[: len(other.own) - sum(map(len, other.received))]]
        self.sockets = [*self.sockets, *other.own]
        self.own = [*self.own, *other.own]
        self.handing_over += [
            each for each in (*other.handing_over, other.current, other.successor) if each is not None
        ]
        self.received_at = time.monotonic()
        other.own = []

    def keep(self, own: list[socket.socket]) -> None:
        """Take sockets that belong to no slot, such as those of a predecessor with more workers."""
        self.received.append(own)
        self.sockets = [*self.sockets, *own]
        self.own = [*self.own, *own]

    def release(self) -> list[socket.socket]:
        """Return received sockets for a new slot; this one listens on them until its worker is replaced."""
        given = self.received.pop()
        self.sockets = [each for each in self.sockets if each not in given]
        self.own = [each for each in self.own if each not in given]
        return given

    def retired(self) -> list[Process]:
        """Return the workers of removed slots that can retire, as a worker of this slot listens on all sockets."""
        worker = self.current
        if worker is None or not worker.ready or worker.started_at < self.received_at:
            return []
        found, self.handing_over = self.handing_over, []
        return found

    def close(self) -> None:
        for sock in self.own:
            sock.close()


class Workers(list["Process"]):
    """The workers of some slots, as a list that subclasses of uvicorn's parent change: the slots follow.

    `adopt` is called with a worker that is appended, or is put in the place of another, and with the slot of that;
    `release` with the slot of one that is taken out.
    """

    def __init__(
        self, slots: Iterable[Slot], adopt: Callable[[Process, Slot | None], Slot], release: Callable[[Slot], None]
    ) -> None:
        self.slots = [slot for slot in slots if slot.current is not None]
        super().__init__([slot.current for slot in self.slots if slot.current is not None])
        self.adopt = adopt
        self.release = release

    def append(self, process: Process) -> None:
        super().append(process)
        self.slots.append(self.adopt(process, None))

    def __setitem__(self, index: Any, process: Any) -> None:
        if isinstance(index, slice):
            raise TypeError("workers are replaced one by one")
        super().__setitem__(index, process)
        self.adopt(process, self.slots[index])

    def pop(self, index: SupportsIndex = -1) -> Process:
        process = super().pop(index)
        self.release(self.slots.pop(index))
        return process

    def remove(self, process: Process) -> None:
        self.pop(self.index(process))

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        super().__delitem__(index)
        gone = self.slots[index]
        del self.slots[index]
        for slot in gone if isinstance(gone, list) else [gone]:
            self.release(slot)


@dataclass
class Replacement:
    """A pending replacement of a worker."""

    slot: Slot
    process: Process
    reason: str
    restart: bool = False  # part of a restart by SIGHUP
    due: float = 0.0  # earliest start
