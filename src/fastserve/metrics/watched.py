"""What a parent knows of its processes: their pages, and what has become of them."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from fastserve.metrics.pages import Live, Page, Pages

STARTUP_FAILURE = 3
ENDS = ("requests", "lifetime", "rss", "silent", "loop", "signal", "exit", "startup", "replaced", "stop")
RELOADS = ("ok", "failed")
MOST_PAGES = 240  # that go with a message to a successor, with channels to ancestors: Linux's SCM_MAX_FD is 253


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

    def left(self, ancestors: Sequence[Sequence[Live]] = ()) -> tuple[bytes, list[int]]:
        """Return the counts for a successor, and the descriptors of the pages that are still written.

        `ancestors` are the processes of each earlier parent; all others are those of this one.
        """
        with self.pages.lock:
            live = [each for each in self.pages.live if each.pid is not None][:MOST_PAGES]
            parents = [next((at for at, those in enumerate(ancestors, 1) if each in those), 0) for each in live]
            about = [
                (parent, each.place, each.pid, each.since, each.shown_cpu)
                for parent, each in zip(parents, live, strict=True)
            ]
            counts = self.starts, self.ends, self.reloads
            return (
                pickle.dumps((self.pages.dead, self.pages.dead_cpu, about, len(ancestors), counts)),
                [each.page.fd for each in live],
            )

    def inherit(self, left: bytes, descriptors: list[int]) -> tuple[list[list[Live]], list[int]]:
        """Continue with the counts of a predecessor.

        Return those of its processes that still live, then those of each earlier parent, and the descriptors that are
        not those of pages.
        """
        dead, dead_cpu, about, ancestors, counts = pickle.loads(left)
        found: list[list[Live]] = [[] for _ in range(1 + ancestors)]
        for (parent, place, pid, since, shown_cpu), descriptor in zip(about, descriptors[: len(about)], strict=True):
            live = Live(place, Page.of(descriptor))
            live.pid, live.since, live.shown_cpu = pid, since, shown_cpu
            found[parent].append(live)
        self.pages.inherit(dead, dead_cpu, [live for each in found for live in each])
        starts, ends, reloads = counts
        self.starts += starts
        self.ends += ends
        self.reloads += reloads
        return found, descriptors[len(about) :]

    def ancestor_ended(self, lives: Sequence[Live]) -> None:
        """Count the ends of an earlier parent's processes."""
        for live in lives:
            self.pages.end(live)
            self.ends["replaced"] += 1
