"""What a server does, in one JSON document: sums, and a line a worker. `fastserve top` and the web view show it.

Counters are given as they are: rates come from two documents. It never has a path, a query, a header, an address or a
configuration.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from threading import Event, Lock, Thread
from typing import Any

from fastserve import _version
from fastserve._core.metrics import BOUNDS, SHAPE, parts_of_key
from fastserve.metrics import processes, queues
from fastserve.metrics.pages import Totals
from fastserve.metrics.source import Source, WorkerReading, lag_of

BUCKETS = SHAPE["histogram"] - 1
CONNECTIONS = ("new", "idle", "active", "websocket", "closing")
HISTORY_SECONDS = 5.0
HISTORY_POINTS = 120  # ten minutes
POINT_SECONDS = 1.0  # that stop() waits for a point that is being taken

STARTED = time.time()  # this module is loaded when a server starts that shows it

Document = dict[str, Any]


def status_of(source: Source) -> Document:
    """Return the document."""
    snapshot = source.snapshot()
    total = Totals()
    for totals in (snapshot.ended, *(worker.totals for worker in snapshot.workers)):
        total.include(totals)
    workers = sorted(snapshot.workers, key=lambda worker: (worker.place, worker.since))
    watched = source.watched
    end = None if watched is None else watched.last_end
    return {
        "version": _version.VERSION,
        "now": round(time.time(), 3),
        "up": round(time.time() - STARTED, 3),
        "ready": source.ready(),
        "bounds": BOUNDS,
        **counted(total),
        "queue": total.scalar("queue") + total.scalar("wsgi_queue"),
        "accept_queue": accept_queue(source),
        "reloads": {} if watched is None else dict(watched.reloads),
        "last_end": None if end is None else {"at": round(end.at, 3), "worker": end.place, "reason": end.reason},
        "workers": [worker_of(worker) for worker in workers],
    }


def counted(totals: Totals) -> Document:
    """Return what the document has for all workers and for each of them."""
    durations = [0] * BUCKETS
    requests = errors = 0
    for key, values in totals.sums.series.items():
        count = sum(values[:BUCKETS])
        requests += count
        if parts_of_key(key)[1].startswith("5"):
            errors += count
        durations = list(map(int.__add__, durations, values))
    return {
        "requests": requests,
        "errors": errors,
        "durations": durations,
        "active": totals.scalar("active"),
        "connections": {name: totals.scalar(f"connections_{name}") for name in CONNECTIONS},
    }


def worker_of(worker: WorkerReading) -> Document:
    totals = worker.totals
    reading = processes.reading_of(worker.pid)
    return {
        "worker": worker.place,
        "pid": worker.pid,
        "state": worker.state,
        "age": round(time.time() - worker.since, 3),
        **counted(totals),
        "queue": totals.scalar("queue") + totals.scalar("wsgi_queue"),
        "lag": round(lag_of(totals), 9),
        "busy": totals.scalar("loop_busy") / 1e9,
        "cpu": max(reading.cpu or 0.0, totals.scalar("process_busy") / 1e9),
        "rss": reading.rss,
    }


def accept_queue(source: Source) -> Document:
    """Return how many connections wait in the kernel, and how many may, over all listeners."""
    waiting, limit = 0, 0
    for _, length, most in listeners_of(source):
        waiting, limit = waiting + length, limit + most
    return {"length": waiting, "limit": limit}


def listeners_of(source: Source) -> Iterable[tuple[str, int, int]]:
    """Yield each listening socket's address, and its queue where the system tells."""
    for sock in source.sockets():
        try:
            name, queue = queues.listener_name(sock), queues.queue_of(sock)
        except OSError:
            continue  # it has just been closed
        yield (name, *(queue or (0, 0)))


class History:
    """The last ten minutes of a server: a point each HISTORY_SECONDS, from start() to stop().

    A point has rates and the 99th percentile of that time.
    """

    def __init__(self, read: Callable[[], Document]) -> None:
        self.read = read
        self.points: deque[Document] = deque(maxlen=HISTORY_POINTS)
        self._before: Document | None = None
        self._stopped = Event()
        self._lock = Lock()
        self._thread = Thread(target=self._follow, name="fastserve history", daemon=True)

    def start(self) -> None:
        self.take()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            # A thread that wakes up while Python is taken down ends within whatever it is doing.
            self._thread.join(POINT_SECONDS)

    def _follow(self) -> None:
        while not self._stopped.wait(HISTORY_SECONDS):
            self.take()

    def take(self) -> None:
        """Add a point."""
        now = self.read()
        with self._lock:
            before, self._before = self._before, now
            if before is not None:
                self.points.append(point(before, now))

    def shown(self) -> list[Document]:
        with self._lock:
            return list(self.points)


def point(before: Document, now: Document) -> Document:
    """Return what happened between two documents: rates a second, and of each worker the rate and its lag."""
    seconds = max(now["now"] - before["now"], 1e-3)
    earlier = {worker["pid"]: worker for worker in before["workers"]}
    rates: dict[str, float] = {}  # by place, where an old worker and its successor may serve at a time
    for worker in now["workers"]:
        place = str(worker["worker"])
        rates[place] = round(rates.get(place, 0.0) + rate(earlier.get(worker["pid"]), worker, "requests", seconds), 3)
    return {
        "at": now["now"],
        "rate": round(rate(before, now, "requests", seconds), 3),
        "errors": round(rate(before, now, "errors", seconds), 3),
        "p50": percentile(0.5, difference(before, now)),
        "p99": percentile(0.99, difference(before, now)),
        "active": now["active"],
        "queue": now["queue"],
        "workers": rates,
    }


def rate(before: Document | None, now: Document, name: str, seconds: float) -> float:
    return float(max(now[name] - (0 if before is None else before[name]), 0)) / seconds


def difference(before: Document | None, now: Document) -> list[int]:
    """Return how many requests took how long between two documents."""
    counts: list[int] = now["durations"]
    if before is None:
        return counts
    return [max(each - was, 0) for each, was in zip(counts, before["durations"], strict=True)]


def percentile(share: float, counts: list[int]) -> float | None:
    """Return the seconds below which this share of requests took, as exact as the buckets are; None without any."""
    total = sum(counts)
    if not total:
        return None
    wanted = share * total
    below = 0.0
    lower = 0.0
    for bound, count in zip(BOUNDS, counts, strict=False):
        if count and below + count >= wanted:
            return round(lower + (bound - lower) * (wanted - below) / count, 6)
        below += count
        lower = bound
    return BOUNDS[-1]
