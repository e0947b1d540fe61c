"""The turn of the loop: reads, applications, writes, in batches."""

from __future__ import annotations

import asyncio
import itertools
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from core.responses import read_one
from fakes.worker import TIME, FakeWorker, Peer, get, hello, respond, warm

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
    """Let requests arrive together, and return what happens; "loop" is the loop's next turn."""
    recorder.events.clear()
    for peer in peers:
        peer.put(get(path))
    wire.turn()
    wire.loop.call_soon(recorder.events.append, "loop")
    wire.turn(40)
    return [event.split()[0] for event in recorder.events]


def watched(work: Work, recorder: Recorder, count: int) -> tuple[FakeWorker, list[Peer]]:
    """Return a worker that batches, and that many of its connections, which are watched."""
    wire = work(recorder)
    peers = [wire.connect() for _ in range(count)]
    warm(wire, peers[:5])
    for peer in peers:
        recorder.watch(peer, "")
    return wire, peers


def last_read(happened: list[str]) -> int:
    return len(happened) - 1 - happened[::-1].index("read")


def kinds(count: int) -> list[str]:
    """What happens to requests of this many connections that arrive together: batches of 32, one of them read ahead."""
    happened: list[str] = []
    waiting = 0
    for _ in range(count):
        happened.append("read")
        waiting += 1
        if waiting == 64:
            happened += ["app"] * 32 + ["write"] * 32
            waiting -= 32
    while waiting:
        size = min(32, waiting)
        happened += ["app"] * size + ["write"] * size
        waiting -= size
    return happened


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


def test_a_large_piece_is_taken_before_more_is_read_also_after_a_full_batch(work: Work) -> None:
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await receive()
        await recorder(scope, receive, send)

    wire = work(app)
    peers = [wire.connect() for _ in range(41)]
    warm(wire, peers)
    peers[-1].feed(b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n")
    last = wire.connect()
    recorder.watch(last, "/last")
    recorder.events.clear()
    for peer in peers[:-1]:
        peer.put(get())
    peers[-1].put(bytes(65536))
    last.put(get("/last"))
    wire.settle()
    assert recorder.events == ["app /"] * 40 + ["app /large", "read /last", "app /last", "write /last"]


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


def test_the_loop_reads_between_two_batches(work: Work) -> None:
    """Else those whose responses were written first come back too late to be read with the others, and wait twice."""
    recorder = Recorder()
    wire, peers = watched(work, recorder, 48)
    happened = arrive(wire, recorder, peers, "/")
    assert happened == ["read"] * 48 + ["app"] * 32 + ["write"] * 32 + ["loop"] + ["app"] * 16 + ["write"] * 16


def test_a_batch_is_filled_by_the_next_read(work: Work) -> None:
    """In order of arrival."""
    recorder = Recorder()
    wire = work(recorder)
    peers = [wire.connect() for _ in range(80)]
    warm(wire, peers)
    for number, peer in enumerate(peers):
        recorder.watch(peer, f"/{number}")
    recorder.events.clear()
    for number, peer in enumerate(peers[:40]):
        peer.put(get(f"/{number}"))
    wire.turn()
    for number, peer in enumerate(peers[40:], 40):
        peer.put(get(f"/{number}"))
    wire.settle()
    assert recorder.events == [
        *[f"read /{number}" for number in range(40)],
        *[f"{what} /{number}" for what in ("app", "write") for number in range(32)],
        *[f"read /{number}" for number in range(40, 80)],
        *[f"{what} /{number}" for what in ("app", "write") for number in range(32, 64)],
        *[f"{what} /{number}" for what in ("app", "write") for number in range(64, 80)],
    ]


def test_a_turn_with_more_than_two_batches_ends_with_all(work: Work) -> None:
    """Else some of very many clients are a round behind the others, which took as long as the turn."""
    recorder = Recorder()
    wire, peers = watched(work, recorder, 80)
    happened = arrive(wire, recorder, peers, "/")
    assert happened[: happened.index("loop")].count("app") == 80


@pytest.mark.parametrize("seconds", [0.0003, 0.0011, 0.006])
def test_slow_requests_run_in_the_order_of_their_arrival(work: Work, seconds: float) -> None:
    """Also when as many come in each turn as are run in it."""
    order: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/warm":
            TIME.spin(seconds)
            order.append(int(scope["path"][1:]))
        await respond(send)

    wire = work(app)
    a_turn = int(0.005 / seconds) + 1
    peers = [wire.connect() for _ in range(50 + 20 * a_turn)]
    warm(wire, peers[-10:])
    coming = iter(enumerate(peers[:-10]))
    for count in [50, *[a_turn] * 20]:
        for number, peer in itertools.islice(coming, count):
            peer.put(get(f"/{number}"))
        wire.turn()
    while len(order) < len(peers) - 10:
        wire.turn()
    assert order == sorted(order)


def test_clients_that_come_back_at_once_wait_for_those_that_wait(work: Work) -> None:
    """The kernel lists them first, as if their requests had come before the others."""
    recorder = Recorder()
    wire = work(recorder)
    peers = [wire.connect() for _ in range(64)]
    warm(wire, peers)
    back, waiting = peers[:32], peers[32:]
    for peer in waiting:
        peer.put(get("/waiting"))
    wire.settle()
    for peer in back:
        peer.put(get("/back"))
    wire.settle()
    recorder.events.clear()
    for peer in [*back[:8], *waiting]:
        peer.put(get("/back" if peer in back else "/waiting"))
    wire.turn()
    for peer in back[8:]:
        peer.put(get("/back"))
    wire.settle()
    assert recorder.events == ["app /waiting"] * 32 + ["app /back"] * 32


def test_pipelined_responses_of_a_batch_leave_together(work: Work) -> None:
    """Although others wait for the batch after it."""
    wire = work(hello())
    peers = [wire.connect() for _ in range(60)]
    warm(wire, peers)
    for peer in peers:
        peer.take()
        peer.put(get() * 4)
    wire.settle()
    assert [len(peer.transport.writes) for peer in peers] == [1] * 60


def test_what_a_request_had_is_freed_before_the_next_of_its_batch_runs(work: Work) -> None:
    """Else it fills the caches, and the youngest generation of the garbage collector, once for each of the batch."""

    class Owned:
        pass

    owned: list[weakref.ref[Owned]] = []
    alive: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        alive.append(sum(reference() is not None for reference in owned))
        scope["owned"] = Owned()
        owned.append(weakref.ref(scope["owned"]))
        await respond(send)

    wire = work(app)
    peers = [wire.connect() for _ in range(20)]
    warm(wire, peers)
    alive.clear()
    for peer in peers:
        peer.put(get())
    wire.settle()
    assert alive == [0] * len(peers)


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
    wire, peers = watched(work, recorder, 100)
    happened = arrive(wire, recorder, peers, "/slow")
    assert happened.count("app") == 100
    assert happened[: last_read(happened)].count("app") == 5
    assert happened[: happened.index("loop")].count("app") == 10
    assert [what for what in arrive(wire, recorder, peers, "/") if what != "loop"] == kinds(100)


def test_the_batches_of_a_turn_are_bounded(work: Work) -> None:
    """However short each of them is."""
    recorder = Recorder(0.00012)
    wire, peers = watched(work, recorder, 640)
    happened = arrive(wire, recorder, peers, "/slow")
    assert happened.count("app") == 640
    assert happened[: last_read(happened)].count("app") == 14 * 32
    assert happened[: happened.index("loop")].count("app") == 15 * 32
    assert [what for what in arrive(wire, recorder, peers[:100], "/") if what != "loop"] == kinds(100)


def test_a_tls_client_that_has_ended_has_its_response_although_others_wait(work: Work) -> None:
    """Its transport closes in any case."""
    wire = work(hello())
    peers = [wire.connect() for _ in range(40)]
    client = wire.connect(sslcontext=object())
    warm(wire, [*peers, client])
    client.take()
    for peer in (*peers, client):
        peer.put(get())
    wire.loop.call_soon(client.connection.eof_received)
    wire.turn()
    assert read_one(client.take()).status == 200


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


def test_a_turn_whose_end_cannot_be_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it held leaves with the next call."""
    loop = asyncio.new_event_loop()
    real, failing = loop.call_soon, False

    def call_soon(*args: Any, **options: Any) -> asyncio.Handle:
        if failing:
            raise MemoryError
        return real(*args, **options)

    monkeypatch.setattr(loop, "call_soon", call_soon)
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: loop)
    monkeypatch.setattr(sys, "unraisablehook", lambda error: None)
    wire = FakeWorker(hello())
    try:
        peers = [wire.connect() for _ in range(5)]
        warm(wire, peers)
        for peer in peers:
            peer.take()
        failing = True
        peers[0].connection.data_received(get())
        failing = False
        for peer in peers[1:]:
            peer.put(get())
        wire.settle()
        assert [read_one(peer.take()).body for peer in peers] == [b"hello"] * 5
    finally:
        failing = False
        wire.close()
