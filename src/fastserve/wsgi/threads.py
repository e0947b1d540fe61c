"""The threads that WSGI applications run in, designed to hand over a short call at the lowest cost.

Waking a thread costs more than the response of many an application, and of several that are awake only one has the GIL.
So a thread that is awake takes one call after the other, and no other is woken for a call that will have its turn in a
moment. A call that is still in the queue after PATIENCE shows that the application waits for something or computes for
long: then a thread is woken for each of the next EAGER_CALLS calls, as in a plain pool.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from fastserve._core.wsgi.wakeup import Gate

if TYPE_CHECKING:
    import asyncio

Call = Callable[[], None]

PATIENCE = 0.001  # seconds
EAGER_CALLS = 500
IDLE_SECONDS = 30.0
JOIN_SECONDS = 1.0  # for close() to wait for threads that have nothing left to do


class _Thread(threading.Thread):
    """A thread of a pool; a daemon, because a call that hangs must not keep the process from ending."""

    def __init__(self, pool: Threads, number: int) -> None:
        super().__init__(name=f"wsgi-{number}", daemon=True)
        self.pool = pool
        self.gate = Gate()
        self.called = False  # removed from the idle ones, to check the queue again
        self.closed = False  # to end when the queue is empty

    def run(self) -> None:
        calls = self.pool.calls
        while True:
            try:
                call = calls.popleft()
            except IndexError:
                if not self.pool.rest(self):
                    return
            else:
                call()
                del call  # and with it the request, while this thread waits for the next one


class Threads:
    """At most `most` threads, each started when it is first needed and ended after being idle for long."""

    def __init__(self, most: int, idle_seconds: float = IDLE_SECONDS) -> None:
        self.most = most
        self.calls: deque[Call] = deque()
        self._idle_seconds = idle_seconds
        self._idle: list[_Thread] = []  # the last one to rest is woken first: its memory is in the caches
        self._threads: set[_Thread] = set()
        self._started = 0
        self._counting = threading.Lock()  # prevents starting a thread in place of one that then goes on
        self._eager = 0  # remaining calls for each of which a thread is woken
        # By the loop that will look again, the first in the queue when its watch began.
        self._watched: dict[asyncio.AbstractEventLoop, Call] = {}

    def __len__(self) -> int:
        return len(self._threads)

    @property
    def idle(self) -> int:
        """How many threads wait for a call."""
        return len(self._idle)

    def submit(self, call: Call, loop: asyncio.AbstractEventLoop, alone: bool = False) -> None:
        """Let a thread call `call`, which must not raise. Call this in `loop`.

        Raises RuntimeError if there is no thread and the system cannot start one.
        """
        self.calls.append(call)
        try:
            if self._eager > 0:
                self._eager -= 1
                self._wake()
            elif len(self._idle) == len(self._threads):
                self._wake(alone)
            elif loop not in self._watched:
                self._watch(loop)
        except RuntimeError:
            if not self._threads:
                with suppress(ValueError):  # a thread from before close() has taken it
                    self.calls.remove(call)
                    raise

    def close(self) -> None:
        """End the threads: idle ones now, others after all submitted calls. A later submit() starts new ones."""
        ending = list(self._threads)
        for thread in ending:
            thread.closed = True
        self._threads.difference_update(ending)
        resting = []
        while self._idle:
            thread = self._idle.pop()
            thread.called = True
            thread.gate.open()
            resting.append(thread)
        for thread in resting:
            thread.join(JOIN_SECONDS)

    def _wake(self, alone: bool = False) -> None:
        try:
            thread = self._idle.pop()
        except IndexError:
            with self._counting:
                if len(self._threads) >= self.most:
                    return
                self._started += 1
                thread = _Thread(self, self._started)
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:
                self._threads.discard(thread)
                raise
        else:
            thread.called = True
            if alone:
                thread.gate.open_aside()
            else:
                thread.gate.open()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._watched[loop] = self.calls[0]
        except IndexError:
            return  # a thread has taken it
        loop.call_later(PATIENCE, partial(self._look, loop))

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check whether the queue moves."""
        watched = self._watched.pop(loop, None)
        try:
            first = self.calls[0]
        except IndexError:
            return
        if first is watched:
            self._eager = EAGER_CALLS
            with suppress(RuntimeError):  # the existing threads go on with the queue
                for _ in range(min(len(self.calls), self.most)):
                    self._wake()
        else:
            self._watch(loop)

    def rest(self, thread: _Thread) -> bool:
        """Wait, in `thread`, until there may be a call. Return false if the thread must end."""
        thread.called = False
        self._idle.append(thread)
        # A call submitted from here on sees this thread among the idle ones; one submitted before did not.
        if (self.calls or thread.closed) and self._take_back(thread):
            return not thread.closed or bool(self.calls)
        while not thread.called:
            if not thread.gate.wait(self._idle_seconds) and self._take_back(thread):
                return self._retire(thread)
        return not thread.closed or bool(self.calls)

    def _retire(self, thread: _Thread) -> bool:
        """Release a thread that was idle for long, unless a call has been submitted to it."""
        with self._counting:
            self._threads.discard(thread)
            if self.calls and not thread.closed:
                self._threads.add(thread)
                return True
            return False

    def _take_back(self, thread: _Thread) -> bool:
        try:
            self._idle.remove(thread)
        except ValueError:
            return False  # it has been called
        return True
