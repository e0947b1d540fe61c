"""The requests under way, from the report that a process writes when asked where it stands."""

from __future__ import annotations

import re
from typing import Any

LINE = re.compile(r"  (\S+) (.*) for ([0-9]+\.[0-9]) s")


def requests_of(report: str) -> list[dict[str, Any]]:
    """Return method, path and seconds of each request, the longest first."""
    found = [
        {"method": match[1], "path": match[2], "seconds": float(match[3])}
        for line in report.splitlines()
        if (match := LINE.fullmatch(line))
    ]
    return sorted(found, key=lambda request: request["seconds"], reverse=True)
