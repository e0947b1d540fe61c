"""The screen and the keys of `fastserve top`."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastserve.operations.client import Failed
from fastserve.top.figures import Figures
from fastserve.top.layout import SORTS, Line, Shown, frame, ordered
from fastserve.top.reader import Reader


class Keys:
    """What the keys of the keyboard change."""

    def __init__(self) -> None:
        self.shown = Shown()
        self.quit = False

    def press(self, key: str, workers: list[int]) -> None:
        """Take a key; `workers` is in the order of the screen."""
        if key in ("q", "\x03", "\x04"):
            self.quit = True
        elif key == " ":
            self.shown = self.shown._replace(paused=not self.shown.paused)
        elif key == "s":
            names = list(SORTS)
            self.shown = self.shown._replace(sort=names[(names.index(self.shown.sort) + 1) % len(names)])
        elif key == "w":
            choices = [None, *dict.fromkeys(workers)]
            at = choices.index(self.shown.worker) if self.shown.worker in choices else 0
            self.shown = self.shown._replace(worker=choices[(at + 1) % len(choices)])


def run(reader: Reader, interval: float) -> None:
    """Show a server until q is pressed. Raises Failed if the first reading does, ImportError without rich."""
    from rich.console import Console
    from rich.live import Live

    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # rich would keep to them, whatever size the terminal is given
    figures = reader.read()
    console = Console(highlight=False)
    keys = Keys()
    renderable = renderer()

    def drawn() -> Any:
        width, height = console.size
        return renderable(frame(figures, width, height, keys.shown))

    with keyboard() as pressed, Live(drawn(), console=console, screen=True, auto_refresh=False) as live:
        due = time.monotonic() + interval
        while not keys.quit:
            for key in pressed(max(due - time.monotonic(), 0.0)):
                keys.press(key, [each.worker for each in ordered(figures, keys.shown)])
            if time.monotonic() >= due:
                due = time.monotonic() + interval
                if not keys.shown.paused:
                    figures, note = following(reader, figures)
                    keys.shown = keys.shown._replace(note=note)
            live.update(drawn(), refresh=True)


def following(reader: Reader, before: Figures) -> tuple[Figures, str]:
    """Return the next figures, or those before and what is wrong."""
    try:
        return reader.read(), ""
    except Failed as exc:
        return before, f"{exc} (q quits)"


def renderer() -> Callable[[list[Line]], Any]:
    """Return what makes lines something that rich shows; segments cost a tenth of what its tables do."""
    from rich.segment import Segment, Segments
    from rich.style import Style

    styles: dict[str, Style] = {}

    def style_of(name: str) -> Style | None:
        if name and name not in styles:
            styles[name] = Style.parse(name)
        return styles.get(name)

    def rendered(lines: list[Line]) -> Any:
        segments = []
        for index, line in enumerate(lines):
            if index:
                segments.append(Segment.line())
            segments += [Segment(text, style_of(style)) for text, style in line]
        return Segments(segments)

    return rendered


@contextmanager
def keyboard() -> Iterator[Callable[[float], str]]:
    """Give a function that waits some seconds for keys and returns those that came."""
    if os.name != "posix" or not sys.stdin.isatty():

        def wait(seconds: float) -> str:
            time.sleep(seconds)
            return ""

        yield wait
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:

        def pressed(seconds: float) -> str:
            ready, _, _ = select.select([descriptor], [], [], seconds)
            return os.read(descriptor, 64).decode("latin-1") or "q" if ready else ""

        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
