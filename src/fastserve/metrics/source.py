"""Where `/metrics` gets its values from: the pages, what the parent knows of its workers, and what the system says."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from fastserve import _version
from fastserve.metrics import processes, queues
from fastserve.metrics.pages import Live, Totals, of_process
from fastserve.metrics.watched import ENDS, RELOADS, Watched

STATES = ("starting", "ready", "stopping")


class WorkerReading(NamedTuple):
    """What is known of a process that serves."""

    place: int
    pid: int
    state: str
    totals: Totals
    since: float  # when it was started, in seconds since 1970


class Snapshot(NamedTuple):
    """The processes that serve, and the sum of those that have ended, of one moment."""

    ended: Totals
    workers: list[WorkerReading]


class Source(Protocol):
    """What serves: a process by itself, or a parent with its workers."""

    def read(self) -> tuple[dict[int, Totals], list[WorkerReading]]:
        """Return the sums of each place, and the processes that serve."""

    def snapshot(self) -> Snapshot:
        """Return them with the sum of those that have ended."""

    def sockets(self) -> Sequence[socket.socket]:
        """Return the sockets that the application's clients connect to."""

    def ready(self) -> bool:
        """Return whether requests are served, and the server has not been told to stop."""

    @property
    def watched(self) -> Watched | None:
        """What has become of workers, None where there are none."""

    def cpu_of_places(self, seconds: dict[int, float]) -> dict[int, float]:
        """Return the CPU time of each place, that of processes that have ended with it, from that of each pid."""


class OwnSource:
    """A process that serves by itself."""

    watched = None

    def __init__(self, ready: Callable[[], bool], sockets: Callable[[], Sequence[socket.socket]]) -> None:
        self.ready = ready
        self.sockets = sockets
        self.since = time.time()

    def read(self) -> tuple[dict[int, Totals], list[WorkerReading]]:
        totals = Totals()
        totals.add(of_process().read())
        state = "ready" if self.ready() else "stopping"
        return {0: totals}, [WorkerReading(0, os.getpid(), state, totals, self.since)]

    def snapshot(self) -> Snapshot:
        return Snapshot(Totals(), self.read()[1])

    def cpu_of_places(self, seconds: dict[int, float]) -> dict[int, float]:
        return {0: sum(seconds.values())}


class ParentSource:
    """A parent; `states` gives the state of each process by its pid."""

    def __init__(
        self,
        watched: Watched,
        states: Callable[[], dict[int, str]],
        ready: Callable[[], bool],
        sockets: Callable[[], Sequence[socket.socket]],
    ) -> None:
        self.watched = watched
        self.states = states
        self.ready = ready
        self.sockets = sockets

    def read(self) -> tuple[dict[int, Totals], list[WorkerReading]]:
        places, processes = self.watched.pages.read()
        return places, self.readings(processes)

    def snapshot(self) -> Snapshot:
        ended, processes = self.watched.pages.snapshot()
        return Snapshot(ended, self.readings(processes))

    def readings(self, processes: list[tuple[Live, Totals]]) -> list[WorkerReading]:
        states = self.states()
        return [
            WorkerReading(live.place, live.pid, states.get(live.pid, "stopping"), totals, live.since)
            for live, totals in processes
            if live.pid is not None
        ]

    def cpu_of_places(self, seconds: dict[int, float]) -> dict[int, float]:
        return self.watched.pages.cpu_of_places(seconds)


Found = list[tuple[tuple[tuple[str, str], ...], float]]


def readings(source: Source, places: dict[int, Totals], workers: list[WorkerReading], loop: str) -> dict[str, Found]:
    """Return the samples of all rows of the table that have a source other than pages."""
    found: dict[str, Found] = {}
    of_workers(source, places, workers, found)
    of_watched(source, found)
    of_queues(source, found)
    of_this_process(found)
    labels = (("version", _version.VERSION), ("python_version", platform.python_version()), ("loop", loop))
    found["build_info"] = [(labels, 1)]
    return found


def of_workers(
    source: Source, places: dict[int, Totals], workers: list[WorkerReading], found: dict[str, Found]
) -> None:
    found["workers"] = [((("state", each),), sum(worker.state == each for worker in workers)) for each in STATES]
    by_place: dict[str, dict[int, float]] = {name: {} for name in ("rss", "lag", "open_fds", "max_fds", "accepting")}
    seconds: dict[int, float] = {}
    for worker in workers:
        reading = processes.reading_of(worker.pid)
        seconds[worker.pid] = max(reading.cpu or 0.0, worker.totals.scalar("process_busy") / 1e9)
        by_place["accepting"].setdefault(worker.place, 0)
        by_place["accepting"][worker.place] += worker.totals.scalar("accepting")
        by_place["lag"][worker.place] = lag_of(worker.totals)
        for name, value in (("rss", reading.rss), ("open_fds", reading.open_fds), ("max_fds", reading.max_fds)):
            if value is not None:
                by_place[name][worker.place] = by_place[name].get(worker.place, 0) + value
    by_place["cpu"] = source.cpu_of_places(seconds)
    by_place["requests"] = {place: totals.sums.requests for place, totals in places.items()}
    for name, values in by_place.items():
        found[f"worker_{name}"] = [((("worker", str(place)),), value) for place, value in sorted(values.items())]


def lag_of(totals: Totals) -> float:
    """Return how late the loop of a process was at its last heartbeat, or is by now if the next one is overdue."""
    due = totals.scalar("beat_due") / 1e9
    return max(totals.scalar("last_lag") / 1e9, time.monotonic() - due if due else 0.0)


def of_watched(source: Source, found: dict[str, Found]) -> None:
    watched = source.watched
    if watched is None:
        return
    found["worker_starts"] = [((), watched.starts)]
    found["worker_ends"] = [((("reason", each),), watched.ends[each]) for each in ENDS]
    found["reloads"] = [((("result", each),), watched.reloads[each]) for each in RELOADS]


def of_queues(source: Source, found: dict[str, Found]) -> None:
    sums: dict[str, tuple[int, int]] = {}
    for sock in source.sockets():
        try:
            name, queue = queues.listener_name(sock), queues.queue_of(sock)
        except OSError:
            continue  # it has just been closed
        if queue is not None:
            before = sums.get(name, (0, 0))
            sums[name] = (before[0] + queue[0], before[1] + queue[1])
    found["listen_queue"] = [((("listener", name),), queue[0]) for name, queue in sums.items()]
    found["listen_queue_limit"] = [((("listener", name),), queue[1]) for name, queue in sums.items()]
    overflows = queues.overflows()
    found["listen_overflows"] = [] if overflows is None else [((), overflows)]


def of_this_process(found: dict[str, Found]) -> None:
    own = processes.reading_of(os.getpid())
    for name, value in (
        ("cpu", own.cpu),
        ("rss", own.rss),
        ("vsize", own.vsize),
        ("open_fds", own.open_fds),
        ("max_fds", own.max_fds),
        ("start", own.start),
    ):
        found[f"process_{name}"] = [] if value is None else [((), value)]
