"""The turn of the loop: reads, applications, writes, in batches."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import text
from core.responses import read_one
from fakes.worker import TIME, FakeWorker, Peer, get, hello, respond
from ws import upgrade

Work = Callable[..., FakeWorker]


class Recorder:
    """An application and transports that write down in which order things happen."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds  # of processor time that a request of /slow takes
        self.events: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            TIME.spin(self.seconds)
        self.events.append("app " + scope["path"])
        await respond(send)

    def watch(self, peer: Peer, name: str) -> None:
        write, arrive = peer.transport.write, peer._arrive

        def watched(data: bytes) -> None:
            self.events.append("write " + name)
            write(data)

        def arriving(data: bytes) -> None:
            self.events.append("read " + name)
            arrive(data)

        peer.transport.write = watched  # type: ignore[method-assign, assignment]
        peer._arrive = arriving  # type: ignore[method-assign]


def arrive(wire: FakeWorker, recorder: Recorder, peers: list[Peer], path: str) -> list[str]:
    """Have requests arrive together, and return what happens; "loop" is the loop's next turn."""
    recorder.events.clear()
    for peer in peers:
        peer.put(get(path))
    wire.turn()
    wire.loop.call_soon(recorder.events.append, "loop")
    wire.turn(40)
    return [event.split()[0] for event in recorder.events]


def last_read(happened: list[str]) -> int:
    return len(happened) - 1 - happened[::-1].index("read")


def kinds(count: int) -> list[str]:
    """What happens to requests of so many connections that arrive together: batches of 32, then those left over."""
    sizes = [min(32, count - done) for done in range(0, count, 32)]
    return [kind for size in sizes for kind in ["read"] * size + ["app"] * size + ["write"] * size]


def warm(wire: FakeWorker, peers: list[Peer]) -> None:
    """Let the worker see that several connections are busy: batching begins."""
    for _ in range(20):
        for peer in peers:
            peer.put(get("/warm"))
        wire.settle()


def test_a_lone_request_is_answered_before_the_loop_goes_on(work: Work) -> None:
    wire = work(hello())
    peer = wire.connect()
    for _ in range(15):
        peer.put(get())
        wire.turn()
        assert read_one(peer.take()).status == 200
    wire.settle()


def test_reads_then_applications_then_writes(work: Work) -> None:
    recorder = Recorder()
    wire = work(recorder)
    peers = [wire.connect() for _ in range(5)]
    for number, peer in enumerate(peers):
        recorder.watch(peer, f"/{number}")
    warm(wire, peers)
    recorder.events.clear()
    for number, peer in enumerate(peers):
        peer.put(get(f"/{number}"))
    wire.settle()
    assert recorder.events == [f"{what} /{number}" for what in ("read", "app", "write") for number in range(5)]


def test_a_large_piece_of_a_body_is_taken_before_more_is_read(work: Work) -> None:
    """So that one such piece is in memory, and in the cache, and not one of each connection."""
    size = 65536
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["more_body"]:
            if message["body"]:
                recorder.events.append(f"app {scope['path']}")
        await respond(send)

    wire = work(app)
    peers = {name: wire.connect() for name in "abcde"}
    warm(wire, list(peers.values()))
    for name, peer in peers.items():
        peer.take()
        peer.put(f"POST /{name} HTTP/1.1\r\nHost: a\r\nContent-Length: {2 * size}\r\n\r\n".encode())
    wire.settle()
    for name, peer in peers.items():
        recorder.watch(peer, f"/{name}")
        peer.put(bytes(size))
    wire.settle()
    assert recorder.events == [f"{what} /{name}" for name in peers for what in ("read", "app")]
    for peer in peers.values():
        peer.put(bytes(size))
    wire.settle()
    assert [read_one(peer.take()).status for peer in peers.values()] == [200] * len(peers)


@pytest.mark.parametrize("count", [2, 3, 4, 8, 16, 17, 32, 33, 64, 80])
def test_several_busy_connections_are_noticed(work: Work, count: int) -> None:
    recorder = Recorder()
    wire = work(recorder)
    peers = [wire.connect() for _ in range(count)]
    for number, peer in enumerate(peers):
        recorder.watch(peer, f"/{number}")
    in_batches = []
    for _ in range(30):
        recorder.events.clear()
        for number, peer in enumerate(peers):
            peer.put(get(f"/{number}"))
        wire.settle()
        in_batches.append([event.split()[0] for event in recorder.events] == kinds(count))
    assert in_batches[0] is False
    assert all(in_batches[-6:])


def test_batching_ends_with_the_company(work: Work) -> None:
    wire = work(hello())
    peers = [wire.connect() for _ in range(5)]
    warm(wire, peers)
    for _ in range(8):
        peers[0].feed(get())
    answered = 0
    for _ in range(8):
        peers[0].put(get())
        wire.turn()
        answered += bool(peers[0].take())
        wire.settle()
        peers[0].take()
    assert answered >= 7  # one may be the sample that looks for company


def test_many_sends_of_a_step_leave_in_one_write(work: Work) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(50):
            await send({"type": "http.response.body", "body": b"piece", "more_body": True})
        await send({"type": "http.response.body"})

    peer = work(app).connect()
    for _ in range(20):
        peer.put(get())
        peer.wire.settle()
        assert len(peer.transport.writes) == 1
        assert read_one(peer.take()).body == b"piece" * 50


def test_sends_of_two_steps_leave_in_two_writes(work: Work) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"b"})

    peer = work(app).connect()
    peer.put(get())
    peer.wire.settle()
    assert len(peer.transport.writes) == 2
    assert read_one(peer.take()).body == b"ab"


def test_pipelined_responses_leave_together(work: Work) -> None:
    wire = work(hello())
    peers = [wire.connect() for _ in range(3)]
    warm(wire, peers)
    for peer in peers:
        peer.take()
    peers[0].put(get() * 10)
    wire.settle()
    assert len(peers[0].transport.writes) <= 2


def test_held_memory_is_bounded(work: Work) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 10000, "more_body": True})
        await send({"type": "http.response.body"})

    peer = work(app).connect()
    peer.put(get())
    peer.wire.settle()
    assert max(map(len, peer.transport.writes)) < 65536 + 2 * 10000
    assert read_one(peer.take()).body == b"x" * 1000000


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
    """Have a request for each path arrive, together."""
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
    assert app.seen[0] is False
    assert all(app.seen[1:])


def test_one_connection_alone_is_written_through_as_well(work: Work) -> None:
    """Though what an application used of the time is not measured for it before there is a reason."""
    app = Busy()
    app.peers["/"] = peer = work(app).connect()
    for _ in range(16):
        app.slow = False
        for _ in range(150):
            peer.feed(get())
        app.slow = True
        peer.feed(get())
    assert app.seen == [False] + [True] * 15


def collect(seconds: float) -> None:
    """The garbage collector runs for so long."""
    TIME.spin(0.001)
    gc.collect(0)
    TIME.spin(seconds)


@pytest.mark.parametrize(
    ("compute", "held_on"), [(TIME.spin, False), (TIME.wait, False), (TIME.preempt, True), (collect, True)]
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
    # Behind so many nothing is remembered of it for others, and a second one costs no more than the first.
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
        """Have the application asked for what it is slow with, in a batch."""
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


def test_a_route_that_is_only_suspected_is_acquitted(work: Work) -> None:
    """Where the processor time of a step was not measured, another process may have had it."""
    path = ""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await in_two_pieces(send)
        if scope["path"] == path:
            TIME.preempt(0.03)

    wire = work(app)
    peer = wire.connect()
    peer.feed(get())
    path = "/"
    peer.feed(get())
    path = ""

    def writes() -> int:
        peer.take()
        peer.put(get())
        wire.settle()
        return len(peer.transport.writes)

    assert [writes() for _ in range(500)] == [2] * 500  # each of its two sends counts
    assert writes() == 1


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


def test_held_bytes_leave_while_other_applications_run(work: Work) -> None:
    """The first response of a large turn does not wait for the last application."""
    order: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        TIME.spin(0.0006)
        order.append("app")
        await respond(send)

    def noting(write: Callable[[Any], None]) -> Callable[[Any], None]:
        def noted(data: Any) -> None:
            order.append("write")
            write(data)

        return noted

    wire = work(app)
    peers = [wire.connect() for _ in range(8)]
    for peer in peers:
        write = peer.transport.write
        peer.transport.write = noting(write)  # type: ignore[method-assign, assignment]
    warm(wire, peers)
    order.clear()
    for peer in peers:
        peer.put(get())
    wire.settle()
    assert order == ["app"] * 5 + ["write"] * 5 + ["app"] * 3 + ["write"] * 3


def test_a_turn_of_applications_is_bounded(work: Work) -> None:
    """After some milliseconds of applications the loop reads again, however many are queued."""
    order: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            TIME.spin(0.0019)
        order.append(scope["path"])
        await respond(send)

    wire = work(app)
    peers = [wire.connect() for _ in range(10)]
    warm(wire, peers)
    order.clear()
    for peer in peers:
        peer.put(get("/slow"))
    wire.turn()
    wire.loop.call_soon(order.append, "loop")
    wire.settle()
    assert order == ["/slow"] * 3 + ["loop"] + ["/slow"] * 7


def test_batches_of_slow_applications_wait_for_the_next_turn(work: Work) -> None:
    """Once a batch took its milliseconds all else is read, and the loop goes on, before the next one starts."""
    recorder = Recorder(0.0011)
    wire = work(recorder)
    peers = [wire.connect() for _ in range(100)]
    warm(wire, peers)
    for peer in peers:
        recorder.watch(peer, "")
    happened = arrive(wire, recorder, peers, "/slow")
    assert happened.count("app") == 100
    assert happened[: last_read(happened)].count("app") == 5
    assert happened[: happened.index("loop")].count("app") == 10
    assert [what for what in arrive(wire, recorder, peers, "/") if what != "loop"] == kinds(100)


def test_the_batches_of_a_turn_are_bounded(work: Work) -> None:
    """However short each of them is."""
    recorder = Recorder(0.00012)
    wire = work(recorder)
    peers = [wire.connect() for _ in range(640)]
    warm(wire, peers[:5])
    for peer in peers:
        recorder.watch(peer, "")
    happened = arrive(wire, recorder, peers, "/slow")
    assert happened.count("app") == 640
    assert happened[: last_read(happened)].count("app") == 14 * 32
    assert happened[: happened.index("loop")].count("app") == 14 * 32 + 42
    assert [what for what in arrive(wire, recorder, peers[:100], "/") if what != "loop"] == kinds(100)


def test_a_transport_that_hands_over_data_while_it_is_closed(work: Work) -> None:
    """As TLS transports do, in the middle of the turn's writes."""
    wire = work(hello())
    for _ in range(3):
        peer = wire.connect(sslcontext=object())
        close = peer.transport.close

        def closing(peer: Peer = peer, close: Callable[[], None] = close) -> None:
            peer.connection.data_received(get("/behind"))
            close()

        peer.transport.close = closing  # type: ignore[method-assign]
        peer.put(get("/", "Connection: close"))
        wire.settle()
        assert read_one(peer.take()).status == 200
        assert peer.transport.closed
    other = wire.connect()
    for _ in range(3):
        other.put(get())
        wire.settle()
        assert read_one(other.take()).status == 200
