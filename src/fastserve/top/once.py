"""`fastserve top --once` and `--json`: without a screen, and without another package."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable

from fastserve.top.figures import Figures
from fastserve.top.layout import as_text, frame
from fastserve.top.reader import Reader

LINES = 10_000  # of a frame that shows every worker


def show(reader: Reader, once: bool, as_json: bool, interval: float, write: Callable[[str], None]) -> None:
    """Write what is known, once or until interrupted. Raises Failed."""
    reader.read()
    while True:
        time.sleep(interval)
        figures = reader.read()
        write(json.dumps(figures.as_dict()) if as_json else text_of(figures))
        if once:
            return


def text_of(figures: Figures) -> str:
    """Return a frame that is as high as it needs to be, without keys."""
    width = shutil.get_terminal_size((80, 24)).columns
    lines = as_text(frame(figures, width, LINES)).splitlines()[:-1]
    return "\n".join(line for index, line in enumerate(lines) if line or (index and lines[index - 1]))
