"""Signals that stop the server, and giving them back to whoever handled them before."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

HANDLED_SIGNALS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
if sys.platform == "win32":
    HANDLED_SIGNALS += (signal.SIGBREAK,)


@contextlib.contextmanager
def captured(handler: Callable[[int, FrameType | None], None], seen: list[int]) -> Iterator[None]:
    """Have `handler` called for HANDLED_SIGNALS while the block runs; then raise again those that it left in `seen`.

    They are raised last first, for the handlers that were there before the block: SIGTERM usually ends the process then
    and there, SIGINT is a KeyboardInterrupt. Does nothing outside of the main thread, which alone may handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # signal.signal even where the loop has add_signal_handler: it tells, and lets us restore, what was there before.
    previous = {number: signal.signal(number, handler) for number in HANDLED_SIGNALS}
    try:
        yield
    finally:
        for number, restored in previous.items():
            # None stands for a handler that was not set from Python and that Python cannot put back.
            signal.signal(number, signal.SIG_DFL if restored is None else restored)
    for captured_signal in reversed(seen):
        flush_standard_streams()
        signal.raise_signal(captured_signal)


def flush_standard_streams() -> None:
    """Write out what print() has buffered: a process that dies by a signal does not."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
