"""Signals that stop the server, and giving them back to whoever handled them before."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

HANDLED_SIGNALS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
if sys.platform == "win32":
    HANDLED_SIGNALS += (signal.SIGBREAK,)

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU", "SIGWINCH")
FORK_SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]

FIRST_PROCESS = 1  # of a container: the system takes no default action there
END_SECONDS = 2.4  # for finally blocks, threads and exit handlers once a server has stopped

Handler = Callable[[int, FrameType | None], None]
Handlers = dict[signal.Signals, Any]  # as signal.signal returns them

# What the blocks that run now found, outermost first: of servers in one loop the first may well end before the second.
stack: list[Handlers] = []

guarded: list[Any] = []  # handlers that children must not have
masks = threading.local()


@contextlib.contextmanager
def captured(handler: Handler, seen: list[int], postponed: list[int] | None = None) -> Iterator[None]:
    """Have `handler` called for HANDLED_SIGNALS while the block runs; then raise again those that it left in `seen`.

    They are raised last first, for the handlers that were there before the block: SIGTERM usually ends the process then
    and there, SIGINT is a KeyboardInterrupt. With `postponed`, a signal that would end the process goes into that list
    instead, after begin_end(), and the caller must leave(). Does nothing outside of the main thread, which alone may
    handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # signal.signal even where the loop has add_signal_handler: it tells, and lets us restore, what was there before.
    guard(handler)
    previous: Handlers = {number: signal.signal(number, handler) for number in HANDLED_SIGNALS}
    stack.append(previous)
    try:
        yield
    finally:
        guarded.remove(handler)
        stack.remove(previous)
        for number in HANDLED_SIGNALS:
            # Not first back to what ends the process at once: the signal may come again meanwhile.
            if postponed is not None and number in seen and signal.getsignal(number) == handler:
                if ends_process(previous[number]) and begin_end(number):
                    postponed.append(number)
                    continue
            restore(number, handler, previous[number])
    flush_standard_streams()
    with contextlib.ExitStack() as again:  # the last one first, and each of them even if another one raises
        for caught in seen:
            if postponed is None or caught not in postponed:
                again.callback(signal.raise_signal, caught)


def ends_process(handler: Any) -> bool:
    return handler is signal.SIG_DFL or getattr(handler, "handler", None) is leave_at_once


def begin_end(number: int) -> bool:
    """Make a signal's default action the end of this process, after its exit handlers or END_SECONDS, and return True.

    0 stands for exit code 0, after END_SECONDS. Returns False where a process cannot be ended so.
    """
    if os.name != "posix":
        return False
    from fastserve._core.ending import end_by

    try:
        end_by(number, END_SECONDS)
    except OSError:
        return False
    if number:
        # Some signals are sent twice, to a group and by a parent: the second one cuts off no exit handler.
        signal.signal(number, Own(lambda number, frame: None))
    return True


def leave(number: int) -> NoReturn:
    """Raise the SystemExit by which the main thread ends, after begin_end()."""
    raise SystemExit(128 + number)


def leave_at_once(number: int, frame: FrameType | None) -> None:
    """Handle a signal that comes while there is nothing to stop."""
    if begin_end(number):
        leave(number)


class Own:
    """A handler for this process alone: in a child that it forks, the signal has its default action again."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.pid = os.getpid()
        guard_forks()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self.pid:
            self.handler(number, frame)
        else:
            take_default_action(number, frame)


def guard(handler: Any) -> None:
    """Have a child that this process forks give signals with this handler, and with Own ones, their default action."""
    guard_forks()
    guarded.append(handler)


@functools.cache
def guard_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=hold_signals, after_in_parent=release_signals, after_in_child=reset_signals)


def hold_signals() -> None:
    """Before a fork: a signal that the child gets before it has its handlers would be lost."""
    masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, FORK_SIGNALS)


def release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)


def reset_signals() -> None:
    """After a fork, in the child."""
    for number in FORK_SIGNALS:
        handler = signal.getsignal(number)
        if isinstance(handler, Own) or handler in guarded:
            signal.signal(number, default_handler(number))
    release_signals()


def default_handler(number: int) -> Any:
    """Return the handler of a signal in a Python program that has none for it."""
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


def take_default_action(number: int, frame: FrameType | None) -> None:
    """Do what a signal does in a Python program that has no handler for it."""
    signal.signal(number, default_handler(number))
    if number == signal.SIGINT:
        signal.default_int_handler(number, frame)
    signal.raise_signal(number)


def handle_as_first_process() -> Callable[[], None]:
    """Have SIGTERM end this process if it is the first one of a container; return what undoes that.

    The system takes no default action there. Any other process is ended by it, whatever Python is doing.
    """
    main = threading.current_thread() is threading.main_thread()
    if os.getpid() != FIRST_PROCESS or not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None
    handler = Own(leave_at_once)
    signal.signal(signal.SIGTERM, handler)

    def undo() -> None:
        if signal.getsignal(signal.SIGTERM) is handler:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return undo


def restore(number: signal.Signals, handler: Any, before: Any) -> None:
    """Take a handler out: what was before it gets the signal, or is given back by the one that came after it."""
    for previous in stack:
        if previous[number] == handler:
            previous[number] = before
            return
    # None stands for a handler that was not set from Python, which Python cannot put back.
    signal.signal(number, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def hangup_handled(handler: Handler) -> Iterator[None]:
    """Have `handler` called for SIGHUP while the block runs, unless the program has a handler of its own.

    Does nothing outside of the main thread, which alone may handle signals, and where there is no such signal.
    """
    number = getattr(signal, "SIGHUP", None)
    main = threading.current_thread() is threading.main_thread()
    if number is None or not main or signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN):
        yield
        return
    own = Own(handler)
    previous = signal.signal(number, own)
    try:
        yield
    finally:
        if signal.getsignal(number) is own:
            signal.signal(number, previous)


@contextlib.contextmanager
def user_signals_handled(handler: Handler) -> Iterator[None]:
    """Have `handler` called for SIGUSR1 and SIGUSR2 while the block runs, where they would end the process.

    Does nothing outside of the main thread, which alone may handle signals, and where there are no such signals.
    """
    own = Own(handler)
    taken: list[signal.Signals] = []
    if os.name == "posix" and threading.current_thread() is threading.main_thread():
        from fastserve._core.ending import is_default

        for number in (signal.SIGUSR1, signal.SIGUSR2):
            if is_default(number):  # faulthandler's handlers, for one, are not known to signal.getsignal()
                taken.append(number)
                signal.signal(number, own)
    try:
        yield
    finally:
        for number in taken:
            if signal.getsignal(number) is own:
                signal.signal(number, signal.SIG_DFL)


def flush_standard_streams() -> None:
    """Write out what print() has buffered: a process that dies by a signal does not."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
