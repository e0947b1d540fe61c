"""The detector of slow steps: which bytes are not held because an application keeps the loop busy."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import FIN, PING, PONG, frame, text
from fakes.worker import TIME, FakeWorker, Peer, get, respond, warm
from ws import read_frames, upgrade

from fastserve._core.loop.slow_steps import SlowSteps

Work = Callable[..., FakeWorker]

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


class Busy:
    """Computes after its last send, for longer than held bytes may wait; `seen` is what had been written by then."""

    def __init__(self, compute: Callable[[float], None] = TIME.spin) -> None:
        self.peers: dict[str, Peer] = {}
        self.compute = compute
        self.slow = True
        self.seen: list[bool] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await respond(send)
        if self.slow:
            self.compute(0.03)
            self.seen.append(bool(self.peers[scope["path"]].transport.writes))


def ask(wire: FakeWorker, peers: dict[str, Peer]) -> None:
    """Let a request for each path arrive, together."""
    for path, peer in peers.items():
        peer.take()
        peer.put(get(path))
    wire.settle()


@pytest.mark.parametrize("busy", [1, 4])
def test_bytes_do_not_wait_for_what_is_computed_after_them(work: Work, busy: int) -> None:
    app = Busy()
    wire = work(app)
    app.peers = {f"/{number}": wire.connect() for number in range(busy)}
    app.slow = False
    for _ in range(20):
        for path, peer in app.peers.items():
            peer.put(get(path))
        wire.settle()
    app.slow = True
    for _ in range(3):
        ask(wire, app.peers)
    assert app.seen[0] is (busy == 1)  # nobody else's response could be written with it
    assert all(app.seen[1:])


def test_a_whole_response_to_the_only_busy_client_is_written_at_once(work: Work) -> None:
    """Nothing is held that could wait, and nothing is measured."""
    app = Busy()
    app.peers["/"] = peer = work(app).connect()
    for _ in range(40):
        peer.feed(get())
    assert app.seen == [True] * 40


def collect(seconds: float) -> None:
    """Let the garbage collector run for that long."""

    def run(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            TIME.spin(seconds)

    gc.callbacks.append(run)
    gc.collect(0)
    gc.callbacks.remove(run)


def allocate(seconds: float) -> None:
    """Compute for that long, with garbage collections that take no time, as happen when many objects are made."""
    for _ in range(4):
        TIME.spin(seconds / 4)
        gc.collect(0)


@pytest.mark.parametrize(
    ("compute", "held_on"),
    [(TIME.spin, False), (TIME.wait, False), (TIME.preempt, True), (collect, True), (allocate, False)],
)
def test_what_counts_as_the_applications_time(work: Work, compute: Callable[[float], None], held_on: bool) -> None:
    app = Busy(compute)
    app.slow = False
    wire = work(app)
    app.peers = {f"/{number}": wire.connect() for number in range(4)}
    warm(wire, list(app.peers.values()))
    app.slow = True
    ask(wire, app.peers)
    assert app.seen[0] is False
    ask(wire, app.peers)
    assert app.seen[4:] == [not held_on] * 4


def test_bytes_do_not_wait_for_what_other_applications_compute_before_they_send(work: Work) -> None:
    """Of applications that were started in one batch, one that computes holds up the others' answers once at most."""
    seen: list[bool] = []
    peers: dict[str, Peer] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            TIME.spin(0.03)
            seen.append(bool(peers["/fast"].transport.writes))
        await respond(send)

    wire = work(app)
    peers.update({path: wire.connect() for path in ("/fast", "/slow", "/a", "/b", "/c")})
    warm(wire, list(peers.values()))
    for _ in range(3):
        ask(wire, peers)
    assert len(seen) == 3
    assert all(seen[1:])


def test_one_slow_step_is_forgiven(work: Work) -> None:
    app = Busy()

    async def either(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in app.peers:
            await app(scope, receive, send)
        else:
            await in_two_pieces(send)

    wire = work(either)
    peers = [wire.connect() for _ in range(4)]
    app.peers = {"/first": peers[0], "/second": peers[0]}

    def writes(first: str) -> list[int]:
        """Return how many writes the responses take that are asked for in one batch."""
        for peer in peers:
            peer.take()
            peer.put(get(first if peer is peers[0] else "/two"))
        wire.settle()
        return [len(peer.transport.writes) for peer in peers]

    app.slow = False
    warm(wire, peers)
    # After that many clean exchanges nothing is remembered of it, and a second one costs no more than the first.
    for path, clean in (("/first", 6600), ("/second", 110)):
        app.slow = True
        writes(path)
        app.slow = False
        assert writes("/two") == [2] * 4
        for _ in range(clean // 4):
            writes("/two")
        assert writes("/two") == [1] * 4


class Slow:
    """Computes after it has answered a request for "/slow", and notes what had been written by then.

    `route` gives what a framework would have put into the scope; other requests are answered in two pieces.
    """

    def __init__(self, route: Callable[[str], dict[str, Any]] = lambda path: {}) -> None:
        self.route = route
        self.peer: Peer
        self.seen: list[bool] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].startswith("/slow"):
            await in_two_pieces(send)
            return
        scope.update(self.route(scope["path"]))
        await respond(send)
        TIME.spin(0.4)
        self.seen.append(bool(self.peer.transport.writes))


async def in_two_pieces(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await send({"type": "http.response.body", "body": b"b"})


class Crowd:
    """Busy connections, and one that asks the application `slow` now and then."""

    def __init__(self, work: Work, slow: Slow, busy: int = 16) -> None:
        self.wire = work(slow)
        self.slow = slow
        self.peers = [self.wire.connect() for _ in range(busy)]
        slow.peer = self.wire.connect()
        warm(self.wire, self.peers)

    def writes(self) -> set[int]:
        """Return the numbers of writes that the responses take to requests of all that are busy."""
        for peer in self.peers:
            peer.take()
            peer.put(get("/fast"))
        self.wire.settle()
        return {len(peer.transport.writes) for peer in self.peers}

    def ask(self, path: str) -> None:
        """Ask the application for what it is slow with, in a batch."""
        self.slow.peer.take()
        for peer in self.peers[:3]:
            peer.put(get("/fast"))
        self.slow.peer.put(get(path))
        self.wire.settle()


class Route:
    """Of a framework's: two of the same are equal, and have no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


ROUTE = Route()
BY_ROUTE = pytest.mark.parametrize(
    "route", [lambda path: {"route": ROUTE}, lambda path: {"endpoint": ROUTE}, lambda path: {}]
)


@BY_ROUTE
def test_a_response_waits_for_its_application_once_for_its_route(
    work: Work, route: Callable[[str], dict[str, Any]]
) -> None:
    """However rarely it is asked for; what others send is held as before."""
    crowd = Crowd(work, Slow(route))
    for _ in range(19):
        crowd.ask("/slow")
        for _ in range(8):
            crowd.writes()
        assert crowd.writes() == {1}
    assert crowd.slow.seen == [False] + [True] * 18


@BY_ROUTE
def test_a_thousand_paths_of_a_route(work: Work, route: Callable[[str], dict[str, Any]]) -> None:
    crowd = Crowd(work, Slow(route), 3)
    for number in range(1000):
        crowd.ask(f"/slow/{number}")
    assert crowd.slow.seen == [False] + [True] * 999
    for _ in range(40):
        crowd.writes()
    assert crowd.writes() == {1}


def test_routes_that_are_slow_after_each_other(work: Work) -> None:
    """None of them costs the others their batches for longer than the first."""
    routes: dict[str, Any] = {}
    crowd = Crowd(work, Slow(lambda path: {"route": routes.setdefault(path, Route())}))
    for number in range(20):
        crowd.ask(f"/slow/{number}")
    for _ in range(8):
        crowd.writes()
    assert crowd.writes() == {1}


def test_as_many_routes_are_remembered_as_there_is_room_for(work: Work) -> None:
    """The one that was not asked for the longest is forgotten first."""
    routes: dict[str, Any] = {}
    crowd = Crowd(work, Slow(lambda path: {"route": routes.setdefault(path, Route())}), 3)

    def late(path: str) -> bool:
        for _ in range(40):
            crowd.writes()  # until all are held again, and nothing but the memory helps
        crowd.ask(path)
        return not crowd.slow.seen[-1]

    for number in range(512):
        crowd.ask(f"/slow/{number}")
    assert [late("/slow/0"), late("/slow/new"), late("/slow/0"), late("/slow/1")] == [False, True, False, True]


class Rare:
    """Has time go by between two pieces of a response where `slow` says so; `seen`: whether the first was written."""

    def __init__(self, compute: Callable[[float], None], suspend: bool) -> None:
        self.compute = compute
        self.suspend = suspend
        self.slow = False
        self.peer: Peer
        self.seen: list[bool] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.suspend:
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        if self.slow and scope["path"].startswith("/rare"):
            self.compute(0.4)
            self.seen.append(bool(self.peer.transport.writes))
        await send({"type": "http.response.body", "body": b"b"})


@pytest.mark.parametrize("suspend", [False, True])
@pytest.mark.parametrize("busy", [0, 3])
@pytest.mark.parametrize(("compute", "remembered"), [(TIME.spin, True), (TIME.wait, True), (TIME.preempt, False)])
def test_a_route_that_blocks_once_in_five_thousand_requests(
    work: Work, compute: Callable[[float], None], remembered: bool, busy: int, suspend: bool
) -> None:
    """It is late once, in batches and outside of them. One that another process took the processor from is held on."""
    app = Rare(compute, suspend)
    wire = work(app)
    others = [wire.connect() for _ in range(busy)]
    app.peer = wire.connect()
    warm(wire, others)

    def ask(number: int) -> None:
        for other in others:
            other.put(get("/other"))
        app.peer.put(get(f"/rare/{number}"))
        wire.turn(6)

    for number in range(1, 10_001):
        app.slow = number % 5_000 == 0
        ask(number)
        for peer in wire.peers:
            peer.take()
    assert app.seen == [False, remembered]
    app.slow = False
    for _ in range(200):  # until the penalty for the first is over
        ask(0)
        for other in others:
            other.feed(get("/other"))
    for peer in wire.peers:
        peer.take()
    ask(0)
    assert len(app.peer.transport.writes) == (2 if remembered else 1)
    assert {len(other.transport.writes) for other in others} <= {1}


def test_messages_of_a_websocket_do_not_wait_either(work: Work) -> None:
    seen: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await in_two_pieces(send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": "answer"})
            TIME.spin(0.03)
            seen.append(bool(peer.transport.writes))

    wire = work(app)
    others = [wire.connect() for _ in range(4)]
    warm(wire, others)
    peer = wire.connect()
    peer.feed(upgrade("/socket"))
    for _ in range(5):
        for _ in range(40):
            for other in others:
                other.put(get())
            wire.settle()
        peer.take()
        peer.feed(text("question"))
    assert seen == [False] + [True] * 4
    peer.lose()


def test_pongs_to_many_pings_leave_together(work: Work) -> None:
    """Also while nothing of applications is held: a system call each would keep the loop for half a second."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if scope["path"] == "/late":
                TIME.spin(0.03)
            await in_two_pieces(send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": "a"})
            await send({"type": "websocket.send", "text": "b"})

    wire = work(app)
    others = [wire.connect() for _ in range(4)]
    warm(wire, others)
    peer = wire.connect()
    peer.feed(upgrade("/socket"))
    for other, path in zip(others, ("/", "/late", "/", "/late"), strict=True):
        other.put(get(path))
    wire.settle()
    peer.take()
    peer.put(text("question"))
    wire.settle()
    assert len(peer.transport.writes) == 2
    peer.take()
    peer.put(frame(FIN | PING, b"") * 1000)
    wire.settle()
    assert len(peer.transport.writes) == 1
    assert [opcode for opcode, _ in read_frames(peer.take())] == [PONG] * 1000
    peer.lose()


def test_what_the_writes_take_is_not_the_applications_time(work: Work) -> None:
    """They may take long within a send, which has a batch written whose first bytes have waited."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/late":
            TIME.spin(0.0008)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    def slowly(write: Callable[[Any], None]) -> Callable[[Any], None]:
        def written(data: Any) -> None:
            TIME.spin(0.004)
            write(data)

        return written

    wire = work(app)
    peers = [wire.connect() for _ in range(6)]
    warm(wire, peers)
    for peer in peers:
        peer.take()
        peer.transport.write = slowly(peer.transport.write)  # type: ignore[method-assign, assignment]
        peer.put(get("/late"))
    wire.settle()
    for peer in peers:
        peer.take()
        peer.put(get())
    wire.settle()
    assert [len(peer.transport.writes) for peer in peers] == [1] * 6
