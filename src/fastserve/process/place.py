"""The place of a worker among those of a server, which it keeps for its successor: of this process, or of a thread."""

from __future__ import annotations

import threading

_taken: list[int] = []
_of_thread = threading.local()


def take(number: int) -> None:
    """Note that this process is the worker of a place, from 0."""
    _taken[:] = [number]


def take_in_thread(number: int) -> None:
    """Note that this thread is the worker of a place, from 0."""
    _of_thread.number = number


def own() -> int | None:
    """Return the place of the worker that this thread, or else this process, is; None for neither."""
    number: int | None = getattr(_of_thread, "number", None)
    return number if number is not None or not _taken else _taken[0]
