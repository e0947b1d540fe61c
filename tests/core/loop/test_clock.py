from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate, parsedate_to_datetime

import pytest
from fakes.settings import make_settings
from fakes.worker import FakeWorker, get, hello

from fastserve._core.loop.clock import Clock
from fastserve._core.testing import advance, date_of, measure_again, reading, simulate

Work = Callable[..., FakeWorker]


class Timers:
    """The part of a loop that a clock uses: at most one timer is set at a time."""

    def __init__(self) -> None:
        self.set: list[asyncio.TimerHandle] = []
        self.loop = asyncio.new_event_loop()

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        assert delay > 0
        handle = self.loop.call_later(delay, callback)
        self.set.append(handle)
        return handle

    def live(self) -> list[asyncio.TimerHandle]:
        return [handle for handle in self.set if not handle.cancelled()]


@pytest.fixture
def timers() -> Iterator[Timers]:
    timers = Timers()
    yield timers
    timers.loop.close()


def test_date(timers: Timers) -> None:
    clock = Clock(timers, make_settings())  # type: ignore[arg-type]
    before = formatdate(usegmt=True)
    date = date_of(clock).decode()
    after = formatdate(usegmt=True)
    # The clock is the coarse one: it may be a tick behind.
    gap = (parsedate_to_datetime(before) - parsedate_to_datetime(date)).total_seconds()
    assert 0 <= gap <= 1 or date == after
    assert len(date) == 29
    assert date == formatdate(parsedate_to_datetime(date).timestamp(), usegmt=True)


def test_no_timer_without_a_deadline(timers: Timers) -> None:
    clock = Clock(timers, make_settings())  # type: ignore[arg-type]
    clock.tick()
    advance(clock, 100)
    assert timers.set == []
    clock.close()


def test_one_timer_for_many_connections(work: Work) -> None:
    wire = work(hello())
    delays: list[float] = []
    real = wire.loop.call_later

    def call_later(delay: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        delays.append(delay)
        return real(delay, callback, *args)

    wire.loop.call_later = call_later  # type: ignore[method-assign, assignment]
    peers = [wire.connect() for _ in range(100)]
    assert len(delays) == 1  # REQUEST_HEAD, for the first; those after it are later
    for peer in peers:
        peer.feed(get())
    assert len(delays) == 2  # KEEP_ALIVE is sooner
    for _ in range(20):
        for peer in peers:
            peer.feed(get())
    assert len(delays) == 2


def test_deadlines_come_in_order_and_once(work: Work) -> None:
    wire = work(hello(), timeout_keep_alive=5)
    first, second = wire.connect(), wire.connect()
    first.feed(get())
    wire.advance(3)
    second.feed(get())
    wire.advance(3)
    assert (first.transport.calls, second.transport.calls) == (["close"], [])
    wire.advance(3)
    assert (first.transport.calls, second.transport.calls) == (["close"], ["close"])


def test_the_kinds_do_not_hold_each_other_up(work: Work) -> None:
    wire = work(hello(), timeout_keep_alive=50, timeout_request_head=3)
    idle, silent = wire.connect(), wire.connect()
    idle.feed(get())
    wire.advance(4)
    assert (idle.transport.closed, silent.transport.closed) == (False, True)
    wire.advance(47)
    assert idle.transport.closed


def test_closed_clock_expires_nothing_by_itself(work: Work) -> None:
    wire = work(hello())
    wire.connect().feed(get())
    wire.worker.clock.close()
    scheduled = [handle for handle in wire.loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert scheduled == []


def test_readings_for_tests() -> None:
    simulate(1, 2, 3)
    assert reading() == (1, 2, 3)
    measure_again()
    assert reading() != (1, 2, 3)


def test_what_a_thread_had_of_the_time() -> None:
    """It is known on Linux alone."""
    measure_again()
    lock = threading.Lock()
    lock.acquire()
    before = reading()
    used = time.thread_time()
    while time.thread_time() < used + 0.001:
        pass
    worked = reading()
    lock.acquire(timeout=0.001)
    waited = reading()
    if sys.platform != "linux":
        assert before is worked is waited is None
        return
    assert before is not None and worked is not None and waited is not None
    assert worked[0] - before[0] >= 0.001
    assert worked[1] - before[1] >= 0.001
    assert waited[0] - worked[0] >= 0.001
    assert waited[2] > worked[2]
