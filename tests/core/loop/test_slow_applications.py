"""What clients get at once while applications keep the loop busy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import FIN, PING, PONG, frame, text
from core.garbage import allocate, collect
from fakes.worker import TIME, FakeWorker, Peer, get, respond, warm
from ws import read_frames, upgrade

Work = Callable[..., FakeWorker]


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
