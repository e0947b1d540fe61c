"""What a parent knows of its processes: their pages, and what has become of them."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

from fastserve.metrics.pages import Live, Pages

STARTUP_FAILURE = 3
ENDS = ("requests", "lifetime", "rss", "silent", "loop", "signal", "exit", "startup", "replaced", "stop")
RELOADS = ("ok", "failed")


class End(NamedTuple):
    """The end of a process: when, in seconds since 1970, which, and why."""

    at: float
    place: int
    pid: int | None
    reason: str


class Watched:
    """Pages of the processes of a parent, and counts of their starts and ends."""

    def __init__(self) -> None:
        self.pages = Pages()
        self.starts = 0
        self.ends: Counter[str] = Counter()
        self.last_end: End | None = None
        self.reloads: Counter[str] = Counter()

    def started(self, live: Live, pid: int | None) -> None:
        live.pid = pid
        live.since = time.time()
        self.starts += 1

    def ended(self, live: Live, code: int | None, ready: bool, why: str | None) -> None:
        """Count the end of a process, by why it was ended or by its exit code."""
        if why is None:
            if code is not None and code < 0:
                why = "signal"
            else:
                why = "startup" if code == STARTUP_FAILURE and not ready else "exit"
        self.ends[why] += 1
        self.last_end = End(time.time(), live.place, live.pid, why)

    def reloaded(self, result: str) -> None:
        self.reloads[result] += 1
