"""The detector of slow steps: what it takes for slow, and for how long."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from core.garbage import allocate, collect
from fakes.worker import TIME

from fastserve._core.loop.slow_steps import SlowSteps

SLOW = 0.003  # seconds; a step is slow from 0.002
PENALTY = 100  # clean exchanges after a slow step until bytes are held again
GROWTH = 8  # by which the penalty grows
LASTING = 20000  # sends of a slow route that is not slow, until they are held again
FORGIVEN = 8  # penalties of clean exchanges until it starts over
NUMBERS = itertools.count()  # of routes that nothing else has


def send_then(compute: Callable[[float], None], seconds: float, scope: dict[str, Any] | None = None) -> SlowSteps:
    """Return a detector after one step that computes after its send."""
    steps = SlowSteps()
    step(steps, compute, seconds, scope)
    return steps


def step(
    steps: SlowSteps, compute: Callable[[float], None], seconds: float, scope: dict[str, Any] | None = None
) -> bool:
    """Run a step in a turn of its own. Return whether its bytes were to be written when it had sent them."""
    steps.begin_step(TIME.when, False)
    at_once = send(steps, {"path": f"/{next(NUMBERS)}"} if scope is None else scope)
    compute(seconds)
    steps.end_step(TIME.when)
    steps.stop_measuring()
    return at_once


def send(steps: SlowSteps, scope: dict[str, Any]) -> bool:
    steps.note_send(TIME.when)
    return steps.note_sender(scope, TIME.when)


def clean(steps: SlowSteps, count: int) -> None:
    for _ in range(count):
        step(steps, TIME.spin, 0)


def test_a_fast_step_changes_nothing() -> None:
    steps = send_then(TIME.spin, 0.001)
    assert not steps.write_through


@pytest.mark.parametrize("compute", [TIME.spin, TIME.wait])
def test_a_slow_step_stops_holding(compute: Callable[[float], None]) -> None:
    assert send_then(compute, SLOW).write_through


def test_time_that_others_had_does_not_count() -> None:
    assert not send_then(TIME.preempt, SLOW).write_through


def test_a_garbage_collection_does_not_count() -> None:
    assert not send_then(collect, SLOW).write_through


def test_the_rest_of_a_step_with_garbage_collections_counts() -> None:
    assert send_then(allocate, SLOW).write_through


def test_a_step_without_a_send_is_nobodys_business() -> None:
    steps = SlowSteps()
    now = TIME.when
    steps.begin_step(now, False)
    steps.end_step(now + SLOW)
    assert not steps.write_through


def test_a_step_that_others_wait_for_is_slow_from_its_start() -> None:
    steps = SlowSteps()
    now = TIME.when
    steps.begin_step(now, True)
    steps.end_step(now + SLOW)
    assert steps.write_through


def test_others_do_not_wait_once_their_bytes_are_written() -> None:
    steps = SlowSteps()
    now = TIME.when
    steps.begin_step(now, True)
    steps.note_written()
    steps.end_step(now + SLOW)
    assert not steps.write_through


def test_a_step_between_two_sends() -> None:
    """The second send tells that the bytes of the first have waited."""
    steps = SlowSteps()
    now = TIME.when
    assert not steps.note_send(now)
    assert not steps.note_send(now + 0.001)
    assert steps.note_send(now + 0.001 + SLOW)
    assert steps.write_through


@pytest.mark.parametrize("written", [SlowSteps.note_written, SlowSteps.note_write_through])
def test_writing_is_not_the_applications_time(written: Callable[[SlowSteps], None]) -> None:
    steps = SlowSteps()
    steps.note_send(TIME.when)
    TIME.spin(SLOW)
    written(steps)
    steps.end_step(TIME.when)
    assert not steps.write_through


def test_a_send_that_is_forgotten_is_not_timed() -> None:
    steps = SlowSteps()
    now = TIME.when
    steps.note_send(now)
    steps.forget_send()
    steps.end_step(now + SLOW)
    assert steps.sent == 0
    assert not steps.write_through


@pytest.mark.parametrize(("seconds", "slow"), [(0.001, False), (SLOW, True)])
def test_something_else_that_keeps_the_loop_busy(seconds: float, slow: bool) -> None:
    steps = SlowSteps()
    now = TIME.when
    steps.end_turn(now, now + seconds)
    assert steps.write_through is slow


def test_bytes_are_held_again_after_the_penalty() -> None:
    steps = send_then(TIME.spin, SLOW)
    clean(steps, PENALTY - 1)
    assert steps.write_through
    clean(steps, 1)
    assert not steps.write_through


def test_the_penalty_grows_and_starts_over() -> None:
    steps = SlowSteps()
    for penalty in (PENALTY, PENALTY * GROWTH, PENALTY * GROWTH**2):
        step(steps, TIME.spin, SLOW)
        assert steps.clean == penalty
    clean(steps, steps.clean + FORGIVEN * steps.penalty)
    assert steps.penalty == PENALTY * GROWTH**3
    clean(steps, 1)
    assert steps.penalty == PENALTY


def test_a_route_that_a_framework_names_does_not_raise_the_penalty() -> None:
    steps = SlowSteps()
    for _ in range(3):
        step(steps, TIME.spin, SLOW, {"path": "/", "route": object()})
        assert steps.clean == steps.penalty == PENALTY


def test_a_slow_route_is_written_at_once() -> None:
    scope = {"path": "/slow/1"}
    steps = send_then(TIME.spin, SLOW, scope)
    clean(steps, PENALTY)
    assert step(steps, TIME.spin, SLOW, {"path": "/slow/2"})
    assert not steps.write_through  # that step cost nobody else anything
    assert not step(steps, TIME.spin, 0, {"path": "/fast"})
    assert send(steps, scope)


def test_a_route_that_is_no_longer_slow_is_held_again() -> None:
    """What an accident of the machine has made slow once is not written at once for good."""
    scope = {"path": "/slow"}
    steps = send_then(TIME.spin, SLOW, scope)
    assert all(step(steps, TIME.spin, 0.001, scope) for _ in range(LASTING))
    assert not step(steps, TIME.spin, 0, scope)


@pytest.mark.parametrize(
    ("compute", "between", "stays"),
    [(TIME.spin, False, True), (TIME.wait, False, True), (TIME.preempt, False, False), (TIME.spin, True, True)],
)
def test_a_route_that_is_slow_now_and_then_stays(compute: Callable[[float], None], between: bool, stays: bool) -> None:
    """After a send or between two; time that others had does not count."""
    scope = {"path": "/slow"}
    steps = send_then(TIME.spin, SLOW, scope)
    for _ in range(LASTING - 2):
        step(steps, TIME.spin, 0, scope)
    if between:
        send(steps, scope)
        compute(SLOW)
    step(steps, TIME.spin if between else compute, 0 if between else SLOW, scope)
    for _ in range(2):
        step(steps, TIME.spin, 0, scope)
    assert step(steps, TIME.spin, 0, scope) is stays


def test_a_step_that_is_not_measured_costs_the_first_penalty_at_most() -> None:
    steps = SlowSteps()
    for _ in range(3):
        steps.note_send(TIME.when)
        steps.end_step(TIME.when + SLOW)
        assert steps.clean == steps.penalty == PENALTY


@pytest.mark.parametrize("compute", [TIME.spin, TIME.wait])
def test_time_that_others_had_before_the_send_excuses_nothing(compute: Callable[[float], None]) -> None:
    steps = SlowSteps()
    scope = {"path": "/slow"}
    step_in_turn(steps, {"path": "/fast"}, TIME.spin, 0)  # from which on the turn is measured
    TIME.preempt(10 * SLOW)
    step_in_turn(steps, scope, compute, SLOW)
    steps.stop_measuring()
    assert send(steps, scope)


@pytest.mark.parametrize("compute", [TIME.spin, TIME.wait])
def test_time_that_others_had_between_start_and_send_excuses_nothing(compute: Callable[[float], None]) -> None:
    """And the bytes that were held before have not waited for the application."""
    steps = SlowSteps()
    send(steps, {"path": "/fast"})
    steps.end_step(TIME.when)
    steps.begin_step(TIME.when, True)
    TIME.preempt(10 * SLOW)
    send(steps, {"path": "/slow"})
    before = steps.write_through
    compute(SLOW)
    steps.end_step(TIME.when)
    assert (before, steps.write_through) == (False, True)
    assert send(steps, {"path": "/slow"})


def test_time_after_the_send_that_others_had_a_part_of() -> None:
    """What is left of it counts if it is slow by itself."""
    steps = SlowSteps()
    for seconds in (0.001, SLOW):
        send(steps, {"path": "/slow"})
        TIME.preempt(SLOW)
        TIME.spin(seconds)
        steps.end_step(TIME.when)
        assert steps.write_through is (seconds == SLOW)


def step_in_turn(steps: SlowSteps, scope: dict[str, Any], compute: Callable[[float], None], seconds: float) -> None:
    steps.begin_step(TIME.when, False)
    send(steps, scope)
    compute(seconds)
    steps.end_step(TIME.when)
