"""The heartbeat of an event loop: how late it is, and what is read rather than counted, four times a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fastserve._core.metrics import SCALAR_CELLS, Metrics

SECONDS = 0.25
LAG, LAST_LAG, BEAT_DUE = SCALAR_CELLS["lag"], SCALAR_CELLS["last_lag"], SCALAR_CELLS["beat_due"]
LOOP_BUSY, PROCESS_BUSY = SCALAR_CELLS["loop_busy"], SCALAR_CELLS["process_busy"]


class Heartbeat:
    """Beats in a running loop from start() to stop(); `read` is called at each beat, and at the end.

    `busy` is the clock of the CPU time that the worker is said to use, in nanoseconds.
    """

    def __init__(
        self, metrics: Metrics, read: Callable[[], None], busy: Callable[[], int] = time.process_time_ns
    ) -> None:
        self.metrics = metrics
        self.read = read
        self.busy = busy
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._loop_busy = 0
        self._process_busy = 0

    def start(self) -> None:
        self._loop_busy, self._process_busy = time.thread_time_ns(), self.metrics.get(PROCESS_BUSY)
        self._wait()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.metrics.set(BEAT_DUE, 0)
            self._note()

    def _wait(self) -> None:
        self._due = time.monotonic() + SECONDS
        self.metrics.set(BEAT_DUE, int(self._due * 1e9))
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self._beat)

    def _beat(self) -> None:
        lag = max(time.monotonic() - self._due, 0.0)
        self.metrics.observe(LAG, lag)
        self.metrics.set(LAST_LAG, int(lag * 1e9))
        self._note()
        self._wait()

    def _note(self) -> None:
        busy, process = time.thread_time_ns(), self.busy()
        self.metrics.add(LOOP_BUSY, max(busy - self._loop_busy, 0))
        self._loop_busy = busy
        self.metrics.set(PROCESS_BUSY, max(process, self._process_busy))
        self.read()
