"""Garbage collections in simulated time."""

from __future__ import annotations

import gc

from fakes.worker import TIME


def collect(seconds: float) -> None:
    """Let the garbage collector run for that long."""

    def run(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            TIME.spin(seconds)

    gc.callbacks.append(run)
    gc.collect(0)
    gc.callbacks.remove(run)


def allocate(seconds: float) -> None:
    """Compute for that long, with garbage collections that take no time, as happen when many objects are made."""
    for _ in range(4):
        TIME.spin(seconds / 4)
        gc.collect(0)
