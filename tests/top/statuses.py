"""Statuses of servers that are not there, for the tests of what is shown of them."""

from __future__ import annotations

from typing import Any

from fastserve._core.metrics import BOUNDS


def durations(**counts: int) -> list[int]:
    """Return a histogram of requests by their time: durations(ms2=5)."""
    found = [0] * (len(BOUNDS) + 1)
    for name, count in counts.items():
        seconds = int(name[2:]) / 1000
        found[next((at for at, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))] += count
    return found


def worker(number: int, now: float, requests: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "worker": number,
        "pid": 4_000_000 + number,
        "state": "ready",
        "age": now,
        "requests": requests,
        "errors": 0,
        "durations": durations(ms2=requests),
        "active": 0,
        "queue": 0,
        "lag": 0.0002,
        "busy": 0.0,
        "cpu": 0.0,
        "rss": 50 * 2**20,
        "connections": {"new": 0, "idle": 3, "active": 2, "websocket": 1, "closing": 0},
        **more,
    }


def status(now: float, workers: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the status at a time, whose sums are those of the workers."""
    return {
        "version": "1.2.3",
        "now": 1000 + now,
        "up": now,
        "ready": True,
        "bounds": BOUNDS,
        "requests": sum(each["requests"] for each in workers),
        "errors": sum(each["errors"] for each in workers),
        "durations": [sum(column) for column in zip(*(each["durations"] for each in workers), strict=True)],
        "active": sum(each["active"] for each in workers),
        "queue": sum(each["queue"] for each in workers),
        "accept_queue": {"length": 0, "limit": 2048},
        "reloads": {},
        "last_end": None,
        "workers": workers,
        **more,
    }
