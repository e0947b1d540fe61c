"""Signals that stop the server, and restoring the handlers that were there before."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn

HANDLED_SIGNALS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
if sys.platform == "win32":
    HANDLED_SIGNALS += (signal.SIGBREAK,)

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU", "SIGWINCH")
FORK_SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]

USER_SIGNALS = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]

FIRST_PROCESS = 1  # of a container: the system takes no default action there
END_SECONDS = 2.4  # for finally blocks, threads and exit handlers once a server has stopped

SPAWNED = "--multiprocessing-fork"  # an argument of the processes that multiprocessing spawns
LAST = -1000  # priority of a finalizer

Handler = Callable[[int, FrameType | None], None]
Handlers = dict[signal.Signals, Any]  # as signal.signal returns them

# Previous handlers of the running blocks, outermost first: of servers in one loop, the first may end before the second.
stack: list[Handlers] = []

guarded: list[Any] = []  # handlers that children must not have
masks = threading.local()


@contextlib.contextmanager
def captured(handler: Handler, seen: list[int], postponed: list[int] | None = None) -> Iterator[None]:
    """Call `handler` for HANDLED_SIGNALS while the block runs; then raise again those that it left in `seen`.

    They are raised last first, for the previous handlers: SIGTERM usually ends the process, SIGINT raises
    KeyboardInterrupt. With `postponed`, a signal that would end the process is added to that list instead, after
    begin_end(), and the caller must leave(). Does nothing outside the main thread, which alone may handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # signal.signal rather than loop.add_signal_handler: it returns the previous handler, which can be restored.
    guard(handler)
    previous: Handlers = {number: signal.signal(number, handler) for number in HANDLED_SIGNALS}
    stack.append(previous)
    try:
        yield
    finally:
        guarded.remove(handler)
        stack.remove(previous)
        for number in HANDLED_SIGNALS:
            came = postponed is not None and number in seen and signal.getsignal(number) == handler
            # Without restoring first: in between, the signal might come again and end the process at once.
            if postponed is not None and came and ends_process(previous[number]) and begin_end(number):
                postponed.append(number)
            else:
                restore(number, handler, previous[number])
    flush_standard_streams()
    with contextlib.ExitStack() as again:  # last first, and each even if another raises
        for caught in seen:
            if postponed is None or caught not in postponed:
                again.callback(signal.raise_signal, caught)


def ends_process(handler: Any) -> bool:
    return handler is signal.SIG_DFL or getattr(handler, "handler", None) is leave_at_once


def begin_end(number: int) -> bool:
    """End this process by a signal's default action, after its exit handlers or END_SECONDS; return True.

    0 stands for exit code 0, after END_SECONDS. Returns False where this is not possible.
    """
    if os.name != "posix":
        return False
    from fastserve._core.ending import end_by

    try:
        end_by(number, END_SECONDS)
    except OSError:
        return False
    if number:
        # A stop may be sent twice, to the process group and by the parent: the second must not cut off exit handlers.
        signal.signal(number, Own(lambda number, frame: None))
        if is_forked_process():
            from multiprocessing.util import Finalize

            Finalize(None, end_forked, (number,), exitpriority=LAST)
    return True


def is_forked_process() -> bool:
    """Return whether this is a process of multiprocessing's without a Python of its own: it ends by os._exit()."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None and SPAWNED not in sys.orig_argv


def end_forked(number: int) -> None:
    """Take the signal's default action, as the last finalizer of a process of multiprocessing's."""
    flush_standard_streams()
    take_default_action(number, None)


def leave(number: int) -> NoReturn:
    """End the main thread by SystemExit, after begin_end()."""
    raise SystemExit(128 + number)


def leave_at_once(number: int, frame: FrameType | None) -> None:
    """Handle a signal that comes while nothing is running that could be stopped."""
    if begin_end(number):
        leave(number)


class Own:
    """A handler for this process only: in forked children, the signal has its default action."""

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
    """In forked children, give signals that have this handler, or an Own one, their default action."""
    guard_forks()
    guarded.append(handler)


@functools.cache
def guard_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=hold_signals, after_in_parent=release_signals, after_in_child=reset_signals)


def hold_signals() -> None:
    """Block signals before a fork: one that reaches the child before reset_signals() would be lost."""
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
    """Return the handler that a signal has in a Python program that sets none."""
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


def take_default_action(number: int, frame: FrameType | None) -> None:
    """Do what a signal does in a Python program that sets no handler for it."""
    signal.signal(number, default_handler(number))
    if number == signal.SIGINT:
        signal.default_int_handler(number, frame)
    signal.raise_signal(number)


def handle_as_first_process() -> Callable[[], None]:
    """Let SIGTERM end this process if it is the first one of a container; return a function that undoes this.

    The system takes no default action there. Any other process is ended by SIGTERM, whatever Python is doing.
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
    """Remove a handler: put back the previous one, or leave that to the block that replaced this handler."""
    for previous in stack:
        if previous[number] == handler:
            previous[number] = before
            return
    put_back({number: before})


def put_back(before: Mapping[Any, Any]) -> None:
    """Set signal handlers as signal.signal() has returned them."""
    for number, handler in before.items():
        # None stands for a handler that was not set from Python, which Python cannot restore.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def hangup_handled(handler: Handler) -> Iterator[None]:
    """Call `handler` for SIGHUP while the block runs, unless the program has its own handler.

    Does nothing outside the main thread, which alone may handle signals, and on platforms without SIGHUP.
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


class Left(Own):
    """A handler that leaves a signal to the parent of this process."""

    def __init__(self) -> None:
        super().__init__(lambda number, frame: None)
        self.address = 0  # of what the system calls


def leave_user_signals() -> None:
    """Leave SIGUSR1 and SIGUSR2 to the parent, where they would end the process: they may be sent to all of a group."""
    from fastserve._core.ending import handler_of, is_default

    for number in USER_SIGNALS:
        if is_default(number):
            left = Left()
            signal.signal(number, left)
            left.address = handler_of(number)


def is_free(number: int) -> bool:
    """Return whether nobody has set a handler for a signal, save leave_user_signals()."""
    from fastserve._core.ending import handler_of, is_default

    handler = signal.getsignal(number)  # which does not see faulthandler's
    return is_default(number) or (isinstance(handler, Left) and handler.address == handler_of(number))


@contextlib.contextmanager
def user_signals_handled(handler: Handler) -> Iterator[None]:
    """Call `handler` for SIGUSR1 and SIGUSR2 while the block runs, where they would end the process.

    Does nothing outside the main thread, which alone may handle signals, and on platforms without these signals.
    """
    own = Own(handler)
    before: Handlers = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, own) for number in USER_SIGNALS if is_free(number)}
    try:
        yield
    finally:
        put_back({number: handler for number, handler in before.items() if signal.getsignal(number) is own})


def flush_standard_streams() -> None:
    """Write out what print() has buffered: a process ended by a signal does not."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
