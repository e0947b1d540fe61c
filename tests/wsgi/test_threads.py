"""The pool: when threads start, take calls, wait and end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import PATIENCE as SECONDS

from fastserve._core.wsgi.wakeup import Gate
from fastserve.wsgi import threads
from fastserve.wsgi.threads import Call, Threads


class FakeLoop:
    """A loop whose timers fire when told to."""

    def __init__(self) -> None:
        self.timers: list[Call] = []

    def call_later(self, delay: float, callback: Call) -> None:
        assert delay == threads.PATIENCE
        self.timers.append(callback)

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            timer()


class Job:
    """A call that says when it began, and ends when told to."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.end = threading.Event()
        self.name = ""

    def __call__(self) -> None:
        self.name = threading.current_thread().name
        self.began.set()
        assert self.end.wait(SECONDS)


@pytest.fixture
def loop() -> Any:
    return FakeLoop()


@pytest.fixture
def pool() -> Iterator[Threads]:
    made = Threads(3)
    yield made
    made.close()
    assert len(made) == 0


def settle(pool: Threads, name: str) -> None:
    """Return once the thread of that name has nothing to do."""
    thread = next(each for each in pool._threads if each.name == name)
    while thread not in pool._idle:
        time.sleep(0)  # nothing tells of it: let it run


def run(pool: Threads, loop: Any) -> str:
    """Run a job and return the name of its thread, which is idle then."""
    job = Job()
    job.end.set()
    pool.submit(job, loop)
    assert job.began.wait(SECONDS)
    settle(pool, job.name)
    return job.name


def test_no_thread_before_the_first_call(pool: Threads, loop: Any) -> None:
    assert len(pool) == 0
    assert run(pool, loop) == "wsgi-1"
    assert len(pool) == 1


def test_one_thread_takes_call_after_call(pool: Threads, loop: Any) -> None:
    assert {run(pool, loop) for _ in range(5)} == {"wsgi-1"}
    assert len(pool) == 1
    assert loop.timers == []


def test_a_call_behind_a_quick_one_wakes_nobody(pool: Threads, loop: Any) -> None:
    first, second = Job(), Job()
    pool.submit(first, loop)
    assert first.began.wait(SECONDS)
    pool.submit(second, loop)
    assert len(loop.timers) == 1
    first.end.set()
    second.end.set()
    assert second.began.wait(SECONDS)
    loop.fire()
    assert (second.name, len(pool), loop.timers) == ("wsgi-1", 1, [])


def test_a_call_that_waits_gets_a_thread_and_so_do_the_next(pool: Threads, loop: Any) -> None:
    jobs = [Job() for _ in range(5)]
    for job in jobs[:3]:
        pool.submit(job, loop)
    assert jobs[0].began.wait(SECONDS)
    loop.fire()
    assert jobs[1].began.wait(SECONDS)
    assert jobs[2].began.wait(SECONDS)
    assert len(pool) == 3
    for job in jobs[3:]:  # the pool has no more threads than three
        pool.submit(job, loop)
    assert len(pool) == 3
    jobs[1].end.set()
    assert jobs[3].began.wait(SECONDS)
    assert not jobs[4].began.is_set()
    for job in jobs:
        job.end.set()
    assert jobs[4].began.wait(SECONDS)


def test_after_a_wait_each_call_wakes_a_thread_for_a_while(
    pool: Threads, loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "EAGER_CALLS", 1)
    jobs = [Job() for _ in range(4)]
    for job in jobs[:2]:
        pool.submit(job, loop)
    assert jobs[0].began.wait(SECONDS)
    loop.fire()
    assert jobs[1].began.wait(SECONDS)
    pool.submit(jobs[2], loop)  # without a timer
    assert jobs[2].began.wait(SECONDS)
    assert loop.timers == []
    pool.submit(jobs[3], loop)
    assert len(loop.timers) == 1
    for job in jobs:
        job.end.set()
    assert jobs[3].began.wait(SECONDS)


def test_a_queue_that_moves_is_watched_on(pool: Threads, loop: Any) -> None:
    jobs = [Job() for _ in range(3)]
    for job in jobs:
        pool.submit(job, loop)
    jobs[0].end.set()
    assert jobs[1].began.wait(SECONDS)
    loop.fire()  # another call is at the front than when the timer was set
    assert (len(pool), len(loop.timers)) == (1, 1)
    loop.fire()
    assert jobs[2].began.wait(SECONDS)
    assert len(pool) == 2
    for job in jobs:
        job.end.set()


def test_an_idle_thread_ends_and_another_starts(loop: Any) -> None:
    pool = Threads(1, idle_seconds=0.01)
    run_job = Job()
    run_job.end.set()
    pool.submit(run_job, loop)
    assert run_job.began.wait(SECONDS)
    for thread in list(pool._threads):
        thread.join(SECONDS)
    assert len(pool) == 0
    again = Job()
    again.end.set()
    pool.submit(again, loop)
    assert again.began.wait(SECONDS)
    assert again.name == "wsgi-2"
    pool.close()


class TestClose:
    def test_idle_threads_end(self, pool: Threads, loop: Any) -> None:
        name = run(pool, loop)
        pool.close()
        assert name not in [thread.name for thread in threading.enumerate()]

    def test_busy_threads_end_after_what_is_queued(self, pool: Threads, loop: Any) -> None:
        jobs = [Job() for _ in range(2)]
        for job in jobs:
            pool.submit(job, loop)
        assert jobs[0].began.wait(SECONDS)
        (thread,) = pool._threads
        pool.close()
        for job in jobs:
            job.end.set()
        thread.join(SECONDS)
        assert not thread.is_alive()
        assert jobs[1].began.is_set()

    def test_a_call_after_it_starts_a_thread(self, pool: Threads, loop: Any) -> None:
        run(pool, loop)
        pool.close()
        assert run(pool, loop) == "wsgi-2"

    def test_twice(self, pool: Threads) -> None:
        pool.close()
        pool.close()


def test_threads_do_not_keep_the_process(pool: Threads, loop: Any) -> None:
    run(pool, loop)
    assert all(thread.daemon for thread in pool._threads)


class TestGate:
    @pytest.mark.parametrize("opening", [Gate.open, Gate.open_aside])
    def test_an_opening_before_the_wait_counts(self, opening: Callable[[Gate], None]) -> None:
        gate = Gate()
        opening(gate)
        opening(gate)
        assert gate.wait(SECONDS)
        assert not gate.wait(0)

    @pytest.mark.parametrize("opening", [Gate.open, Gate.open_aside])
    def test_an_opening_wakes_the_thread_that_waits(self, opening: Callable[[Gate], None]) -> None:
        gate = Gate()
        thread = threading.Thread(target=gate.wait)
        thread.start()
        opening(gate)
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_where_the_system_has_no_thread_to_give(pool: Threads, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threads._Thread, "start", refused)
        with pytest.raises(RuntimeError, match="new thread"):
            pool.submit(Job(), loop)
        assert (len(pool), len(pool.calls)) == (0, 0)
    first, second = Job(), Job()
    pool.submit(first, loop)
    assert first.began.wait(SECONDS)
    with monkeypatch.context() as patched:
        patched.setattr(threads._Thread, "start", refused)
        pool.submit(second, loop)
        loop.fire()
        assert len(pool) == 1
    first.end.set()
    assert second.began.wait(SECONDS)
    second.end.set()


def test_thousands_of_calls_from_a_loop() -> None:
    """Whatever a submit() falls on in the life of a thread, no call is lost."""
    done: list[int] = []
    pool = Threads(4, idle_seconds=0.0001)
    total = 3000

    async def main() -> None:
        loop = asyncio.get_running_loop()
        finished = loop.create_future()

        def call(number: int) -> None:
            done.append(number)
            if len(done) == total:
                loop.call_soon_threadsafe(finished.set_result, None)

        for number in range(total):
            pool.submit(lambda number=number: call(number), loop)  # type: ignore[misc]
            if number % 7 == 0:
                await asyncio.sleep(0)
            if number % 100 == 0:
                await asyncio.sleep(0.0002)
        await asyncio.wait_for(finished, SECONDS)

    asyncio.run(main())
    pool.close()
    assert sorted(done) == list(range(total))
