"""Signals that stop the server, and giving them back to whoever handled them before."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

HANDLED_SIGNALS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
if sys.platform == "win32":
    HANDLED_SIGNALS += (signal.SIGBREAK,)

Handlers = dict[signal.Signals, Any]  # as signal.signal returns them

# What the blocks that run now found, outermost first: of servers in one loop the first may well end before the second.
stack: list[Handlers] = []


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
    previous: Handlers = {number: signal.signal(number, handler) for number in HANDLED_SIGNALS}
    stack.append(previous)
    try:
        yield
    finally:
        stack.remove(previous)
        for number in HANDLED_SIGNALS:
            restore(number, handler, previous[number])
    flush_standard_streams()
    with contextlib.ExitStack() as again:  # the last one first, and each of them even if another one raises
        for caught in seen:
            again.callback(signal.raise_signal, caught)


def restore(number: signal.Signals, handler: Any, before: Any) -> None:
    """Take a handler out: what was before it gets the signal, or is given back by the one that came after it."""
    for previous in stack:
        if previous[number] == handler:
            previous[number] = before
            return
    # None stands for a handler that was not set from Python, which Python cannot put back.
    signal.signal(number, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def hangup_handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have `handler` called for SIGHUP while the block runs, unless the program has a handler of its own.

    Does nothing outside of the main thread, which alone may handle signals, and where there is no such signal.
    """
    number = getattr(signal, "SIGHUP", None)
    main = threading.current_thread() is threading.main_thread()
    if number is None or not main or signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN):
        yield
        return
    previous = signal.signal(number, handler)
    try:
        yield
    finally:
        if signal.getsignal(number) == handler:
            signal.signal(number, previous)


def flush_standard_streams() -> None:
    """Write out what print() has buffered: a process that dies by a signal does not."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
