"""Changing the level of the server's loggers while it runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from fastserve.logging.formatters import LOG_LEVELS

LOGGERS = ("fastserve.error", "fastserve.access", "fastserve.asgi")

followers: list[Callable[[], object]] = []


def set_level(name: str) -> None:
    """Set the level of the server's loggers in this process, by its name in LOG_LEVELS."""
    for each in LOGGERS:
        logging.getLogger(each).setLevel(LOG_LEVELS[name])
    for follow in followers.copy():
        with contextlib.suppress(RuntimeError):  # its event loop has just been closed
            follow()


@contextlib.contextmanager
def followed(follow: Callable[[], object]) -> Iterator[None]:
    """For the time of the block, call a function after each change, in the thread that changes it."""
    followers.append(follow)
    try:
        yield
    finally:
        followers.remove(follow)
