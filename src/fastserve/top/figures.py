"""What is shown: rates and percentiles, from the status of a server at successive moments."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from fastserve.metrics.status import Document, difference, percentile, rate

LONG_SECONDS = 10.0  # that percentiles are taken over
SHORT_SECONDS = 2.0  # that rates are taken over
TRAIL = 60  # rates of a worker that are kept


@dataclass
class Worker:
    """A line of the table."""

    worker: int
    pid: int
    state: str
    age: float
    rate: float
    active: int
    queue: int
    p99: float | None
    lag: float
    busy: float  # share of a core
    cpu: float
    rss: int | None
    idle: int
    serving: int  # connections with a request
    websockets: int
    trail: list[float] = field(default_factory=list)


@dataclass
class Figures:
    """What is known at one moment."""

    version: str
    up: float
    ready: bool
    rate: float
    errors: float
    p50: float | None
    p99: float | None
    active: int
    queue: int
    accept_queue: int
    accept_limit: int
    last_end: dict[str, Any] | None
    workers: list[Worker]
    requests: list[dict[str, Any]] | None = None  # under way, None where that cannot be asked for

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        for worker in found["workers"]:
            del worker["trail"]
        return found


class Window:
    """The last seconds of a server: add() a status, get the figures."""

    def __init__(self) -> None:
        self.seen: deque[Document] = deque()
        self.trails: dict[int, deque[float]] = {}  # rates by pid

    def add(self, status: Document) -> Figures:
        self.seen.append(status)
        while len(self.seen) > 2 and status["now"] - self.seen[1]["now"] >= LONG_SECONDS:
            self.seen.popleft()
        recent = next(
            (each for each in reversed(self.seen) if status["now"] - each["now"] >= SHORT_SECONDS), self.seen[0]
        )
        first = self.seen[0]
        # With a single status: what has happened since the server's start.
        seconds = status["now"] - recent["now"] if len(self.seen) > 1 else status["up"]
        alone = len(self.seen) == 1
        durations = difference(None if alone else first, status)
        end = status["last_end"]
        figures = Figures(
            version=status["version"],
            up=status["up"],
            ready=status["ready"],
            rate=rate(None if alone else recent, status, "requests", max(seconds, 1e-3)),
            errors=rate(None if alone else recent, status, "errors", max(seconds, 1e-3)),
            p50=percentile(0.5, durations),
            p99=percentile(0.99, durations),
            active=status["active"],
            queue=status["queue"],
            accept_queue=status["accept_queue"]["length"],
            accept_limit=status["accept_queue"]["limit"],
            last_end=None if end is None else {**end, "ago": max(status["now"] - end["at"], 0.0)},
            workers=[
                self.worker(each, of_pid(recent, each["pid"]), of_pid(first, each["pid"]), seconds)
                if not alone
                else self.worker(each, None, None, seconds)
                for each in status["workers"]
            ],
        )
        live = {each.pid for each in figures.workers}
        self.trails = {pid: trail for pid, trail in self.trails.items() if pid in live}
        return figures

    def worker(self, now: Document, recent: Document | None, first: Document | None, seconds: float) -> Worker:
        # One that has been started since then is as old as it is.
        seconds = max(min(seconds, now["age"]) if recent is None else seconds, 1e-3)
        per_second = rate(recent, now, "requests", seconds)
        trail = self.trails.setdefault(now["pid"], deque(maxlen=TRAIL))
        trail.append(per_second)
        connections = now["connections"]
        return Worker(
            worker=now["worker"],
            pid=now["pid"],
            state=now["state"],
            age=now["age"],
            rate=per_second,
            active=now["active"],
            queue=now["queue"],
            p99=percentile(0.99, difference(first, now)),
            lag=now["lag"],
            busy=rate(recent, now, "busy", seconds),
            cpu=rate(recent, now, "cpu", seconds),
            rss=now["rss"],
            idle=connections["idle"] + connections["new"],
            serving=connections["active"],
            websockets=connections["websocket"],
            trail=list(trail),
        )


def of_pid(status: Document, pid: int) -> Document | None:
    return next((each for each in status["workers"] if each["pid"] == pid), None)
