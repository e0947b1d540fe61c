"""Time that a test moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any


class Later:
    """A call that is due at some time."""

    def __init__(self, clock: Clock, when: float, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        self.clock = clock
        self.when = when
        self.loop = loop
        self.call = call

    def cancel(self) -> None:
        with self.clock.lock:
            if self in self.clock.waiting:
                self.clock.waiting.remove(self)


class Clock:
    """Stands for presence.later(); its time begins at 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[Later] = []
        self.lock = threading.RLock()

    def later(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[..., object], *args: Any) -> Later:
        with self.lock:
            made = Later(self, self.now + seconds, loop, lambda: call(*args))
            self.waiting.append(made)
        return made

    def move(self, seconds: float) -> None:
        """Let time go on, and have what is due then called, each in its loop."""
        with self.lock:
            end = self.now + seconds
            while due := [each for each in self.waiting if each.when <= end]:
                first = min(due, key=lambda each: each.when)
                self.waiting.remove(first)
                self.now = first.when
                if asyncio._get_running_loop() is first.loop:
                    first.call()
                else:
                    first.loop.call_soon_threadsafe(first.call)
            self.now = end
