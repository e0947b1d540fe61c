"""The place of this process among the workers of a server, which a worker keeps for its successor."""

from __future__ import annotations

_taken: list[int] = []


def take(number: int) -> None:
    """Note that this process is the worker of a place, from 0."""
    _taken[:] = [number]


def own() -> int | None:
    """Return the place of this worker, None in any other process."""
    return _taken[0] if _taken else None
