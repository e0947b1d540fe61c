"""What an examination finds, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from fastserve.options.table import Options

OK, WARN, FAIL = "OK", "WARN", "FAIL"


class Finding(NamedTuple):
    """How it is with one thing; `remedy` is the option to use, or what else to do."""

    level: str
    check: str
    text: str
    remedy: str = ""

    def line(self) -> str:
        """Return the finding as a line of text."""
        return f"{self.level:<4} {self.check}: {self.text}{f': {self.remedy}' if self.remedy else ''}"


class Case(NamedTuple):
    """What is examined: the options of a server, what stands in front of it, and its URL."""

    options: Options
    workers: int
    trusted: str  # forwarded_allow_ips, resolved
    balancer: str | None = None
    url: str | None = None


Check = Callable[[Case], Iterator[Finding]]
