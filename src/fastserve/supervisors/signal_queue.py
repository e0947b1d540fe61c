"""Signals of a parent process, queued so that its main loop handles them one by one."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterator
from types import FrameType
from typing import Any

from fastserve.operations.orders import Order
from fastserve.process.signals import HANDLED_SIGNALS, Own, put_back

NAMES = ("INT", "TERM", "BREAK", "HUP", "QUIT", "TTIN", "TTOU", "USR1", "USR2", "WINCH")
SIGNALS: dict[int, str] = {int(getattr(signal, f"SIG{name}")): name for name in NAMES if hasattr(signal, f"SIG{name}")}


class Signals:
    """Puts signals into `queue` while they are captured(), and orders of the control socket.

    `reader` becomes readable when there are any.
    """

    def __init__(self) -> None:
        self.queue: deque[int | Order] = deque()
        self.interrupts = False  # those that stop the server raise KeyboardInterrupt as well
        self.reader, self.writer = socket.socketpair()
        self.reader.setblocking(False)
        self.writer.setblocking(False)

    @contextlib.contextmanager
    def captured(self) -> Iterator[None]:
        """Handle all of SIGNALS in this block, if in the main thread; then restore the previous handlers."""
        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            handler = Own(self.take)
            before = {number: signal.signal(number, handler) for number in SIGNALS}
        try:
            yield
        finally:
            put_back(before)

    def take(self, number: int, frame: FrameType | None) -> None:
        self.queue.append(number)
        self.wake()
        if self.interrupts and number in HANDLED_SIGNALS:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raise KeyboardInterrupt in this block at a signal that stops the server; it stays in the queue."""
        self.interrupts = True
        try:
            if any(each in HANDLED_SIGNALS for each in self.queue):  # one that came just before
                raise KeyboardInterrupt
            yield
        finally:
            self.interrupts = False

    def submit(self, order: Order) -> None:
        """Queue an order; called from any thread."""
        self.queue.append(order)
        self.wake()

    def wake(self) -> None:
        """Make `reader` readable."""
        with contextlib.suppress(OSError):
            self.writer.send(b"\0")

    def taken(self) -> Iterator[int | Order]:
        """Yield and remove what is queued."""
        with contextlib.suppress(OSError):
            self.reader.recv(4096)
        while self.queue:
            yield self.queue.popleft()

    def close(self) -> None:
        self.reader.close()
        self.writer.close()
