"""Lines for systemd's journal: each begins with how grave it is (sd-daemon(3))."""

from __future__ import annotations

import logging
import os
from typing import Any

PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def is_journal(stream: Any) -> bool:
    """Return whether a stream leads to the journal, as systemd says in JOURNAL_STREAM (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def priority(level: int) -> int:
    """Return the priority of syslog for a level of logging."""
    return next((number for least, number in PRIORITIES if level >= least), 7)


class Prioritized(logging.Formatter):
    """What another formatter makes, with a priority before each line: the journal takes every line for an entry."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        mark = f"<{priority(record.levelno)}>"
        return "\n".join(mark + line for line in self.inner.format(record).split("\n"))
