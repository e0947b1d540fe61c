"""Requests that wait until others have ended (--limit-requests), over each version of HTTP, without sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core.responses import read_one, read_responses
from fakes.http2 import INITIAL_WINDOW_SIZE, POST, Http2Client, data, headers, rst_stream, window_update
from fakes.worker import FakeWorker, Peer, get, post, read_body, respond
from ws import close, closing, read_frames, split_response, upgrade

from fastserve._core.http.access_log import AccessLog
from fastserve._core.metrics import SCALAR_CELLS
from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter

Work = Callable[..., FakeWorker]


class Desk:
    """An application whose calls end when a test lets them, and which keeps the paths and bodies that it got."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.waiting: dict[str, asyncio.Future[None]] = {}
        self.bodies: dict[str, bytes] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.calls.append(path)
        waiting = self.waiting[path] = asyncio.get_running_loop().create_future()
        await waiting
        if scope["type"] == "websocket":
            await receive()
            if "deny" in path:
                await send({"type": "websocket.close"})
                return
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        self.bodies[path] = await read_body(receive)
        await respond(send, path.encode())

    def end(self, *paths: str) -> None:
        for path in paths:
            self.waiting.pop(path).set_result(None)


class Office:
    """A worker with such an application."""

    def __init__(self, wire: FakeWorker, desk: Desk) -> None:
        self.wire = wire
        self.desk = desk

    def ask(self, path: str, *fields: str, method: str = "GET") -> Peer:
        peer = self.wire.connect()
        peer.put(get(path, *fields, method=method))
        self.wire.settle()
        return peer

    def end(self, *paths: str) -> None:
        self.wire.call(self.desk.end, *paths)

    def end_all(self) -> None:
        while self.desk.waiting:
            self.end(*self.desk.waiting)

    @property
    def calls(self) -> list[str]:
        return self.desk.calls

    def counted(self, name: str) -> int:
        return self.wire.worker.metrics.get(SCALAR_CELLS[name])

    def refused(self) -> tuple[int, int, int]:
        return self.counted("queue_full"), self.counted("queue_deadline"), self.counted("queue_gone")


@pytest.fixture
def office(work: Work) -> Iterator[Callable[..., Office]]:
    made: list[Office] = []

    def make(**settings: Any) -> Office:
        desk = Desk()
        made.append(Office(work(desk, **{"limit_requests": 1, **settings}), desk))
        return made[-1]

    yield make
    for each in made:
        each.end_all()
        each.wire.errors.clear()  # their tracebacks keep exchanges


def check_refused(output: bytes) -> None:
    answer = read_one(output)
    assert (answer.status, answer.body) == (503, b"Service Unavailable")
    assert answer.get(b"retry-after") == b"1"
    assert answer.get(b"connection") is None


def test_one_after_the_other(office: Callable[..., Office]) -> None:
    """An application is called for as many requests as may run; the next begin in their order, as these end."""
    desk = office(limit_requests=2)
    peers = {path: desk.ask(path) for path in ("/a", "/b", "/c", "/d")}
    assert desk.calls == ["/a", "/b"]
    assert (desk.wire.worker.active, desk.counted("active"), desk.counted("queue")) == (2, 2, 2)
    desk.end("/b")
    assert read_one(peers["/b"].take()).body == b"/b"
    assert desk.calls == ["/a", "/b", "/c"]
    desk.end("/a", "/c")
    desk.end("/d")
    for path in ("/a", "/c", "/d"):
        assert read_one(peers[path].take()).body == path.encode()
    assert (desk.wire.worker.active, desk.counted("active"), desk.counted("queue")) == (0, 0, 0)
    assert desk.refused() == (0, 0, 0)


def test_idle_connections_do_not_count(office: Callable[..., Office]) -> None:
    desk = office()
    peers = [desk.wire.connect() for _ in range(5)]
    for number, peer in enumerate(peers):
        peer.put(get(f"/{number}"))
        desk.wire.settle()
        desk.end(f"/{number}")
        assert read_one(peer.take()).status == 200
    desk.ask("/now")
    assert desk.calls[-1] == "/now"


def test_full_queue(office: Callable[..., Office]) -> None:
    """A request too many gets a 503 on a connection that goes on."""
    desk = office(queue=1)
    desk.ask("/a")
    waiting = desk.ask("/b")
    refused = desk.ask("/c")
    check_refused(refused.take())
    assert desk.refused() == (1, 0, 0)
    desk.end("/a")
    desk.end("/b")
    assert read_one(waiting.take()).body == b"/b"
    refused.put(get("/again"))
    desk.wire.settle()
    assert desk.calls == ["/a", "/b", "/again"]


def test_late(office: Callable[..., Office]) -> None:
    """So does one that has waited for too long; what follows it on the connection is read then."""
    desk = office(queue_timeout=3.0)
    desk.ask("/a")
    waiting = desk.wire.connect()
    waiting.put(get("/b") + get("/c"))
    desk.wire.advance(2)
    assert waiting.take() == b""
    desk.wire.advance(2)
    check_refused(waiting.take())
    assert desk.refused() == (0, 1, 0)
    desk.end("/a")
    assert desk.calls == ["/a", "/c"]
    desk.end("/c")
    assert read_one(waiting.take()).body == b"/c"


def test_no_queue(office: Callable[..., Office]) -> None:
    desk = office(queue=0)
    desk.ask("/a")
    check_refused(desk.ask("/b").take())
    assert read_one(desk.ask("/c", method="HEAD").take(), "HEAD").status == 503
    assert desk.calls == ["/a"]


@pytest.mark.parametrize("how", ["lose", "eof"])
def test_client_that_leaves(office: Callable[..., Office], how: str) -> None:
    """Its application is not called, and its place in the queue is another's."""
    desk = office(queue=1)
    desk.ask("/a")
    leaving = desk.ask("/b")
    getattr(leaving, how)()
    assert desk.refused() == (0, 0, 1)
    staying = desk.ask("/c")
    desk.end("/a")
    assert desk.calls == ["/a", "/c"]
    desk.end("/c")
    assert read_one(staying.take()).body == b"/c"


def test_client_that_only_ends_its_side(office: Callable[..., Office]) -> None:
    """Nothing tells it from one that is gone; should it read on, it learns that it was not served."""
    desk = office()
    desk.ask("/a")
    peer = desk.ask("/b")
    answer = read_one(peer.eof())
    assert (answer.status, answer.get(b"retry-after"), answer.get(b"connection")) == (503, b"1", b"close")
    assert peer.transport.closed


def test_log(office: Callable[..., Office]) -> None:
    """A refused request has its line, one whose client has left has none."""
    lines: list[str] = []
    logger = logging.Logger("admission", logging.INFO)  # noqa: LOG001  # of this test alone
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    desk = office(access=AccessLog(logger, AccessFormatter, ACCESS_FORMAT), queue=1)
    desk.ask("/a")
    leaving = desk.ask("/b")
    desk.ask("/c")
    leaving.eof()
    desk.end("/a")
    assert [line.split(" - ")[1] for line in lines] == ['"GET /c HTTP/1.1" 503', '"GET /a HTTP/1.1" 200']


def test_body_waits_too(office: Callable[..., Office]) -> None:
    """Reading stops with what came with the head, and goes on with the application."""
    desk = office()
    desk.ask("/a")
    peer = desk.wire.connect()
    peer.put(get("/b", "Content-Length: 8", method="POST") + b"1234")
    desk.wire.settle()
    assert peer.transport.calls == ["pause_reading"]
    desk.end("/a")
    assert peer.transport.calls == ["pause_reading", "resume_reading"]
    peer.put(b"5678")
    desk.wire.settle()
    desk.end("/b")
    assert read_one(peer.take()).body == b"/b"
    assert desk.desk.bodies["/b"] == b"12345678"


def test_body_that_came_with_its_head(office: Callable[..., Office]) -> None:
    """There is nothing more to read but the end of the connection, which is looked for."""
    desk = office()
    desk.ask("/a")
    peer = desk.wire.connect()
    peer.put(post(b"12345678", path="/b"))
    desk.wire.settle()
    assert peer.transport.reading
    desk.end("/a")
    desk.end("/b")
    assert desk.desk.bodies["/b"] == b"12345678"
    assert read_one(peer.take()).body == b"/b"


def test_refused_with_a_body(office: Callable[..., Office]) -> None:
    """The rest of a small body is read for the sake of the connection; after a large one it is closed."""
    desk = office(queue=0)
    desk.ask("/a")
    small, large = desk.wire.connect(), desk.wire.connect()
    check_refused(small.feed(get("/b", "Content-Length: 8", method="POST") + b"1234"))
    assert small.feed(b"5678") == b""
    desk.end("/a")
    small.put(get("/c"))
    desk.wire.settle()
    assert desk.calls == ["/a", "/c"]
    answer = read_one(large.feed(get("/b", "Content-Length: 80000000", method="POST") + b"1234"))
    assert (answer.status, answer.get(b"connection")) == (503, b"close")
    assert large.ended


def test_left_while_reading_was_paused(office: Callable[..., Office]) -> None:
    """The end of a connection that is not read shows when its turn comes."""
    desk = office()
    desk.ask("/a")
    ours, theirs = socket.socketpair()
    peer = desk.wire.connect(socket=ours)
    peer.put(get("/b", "Content-Length: 8", method="POST") + b"1234")
    desk.wire.settle()
    theirs.close()
    desk.end("/a")
    assert (desk.calls, desk.refused()) == (["/a"], (0, 0, 1))
    assert peer.transport.closed
    ours.close()
    desk.ask("/c")
    assert desk.calls == ["/a", "/c"]


def test_body_too_large_while_it_waits(office: Callable[..., Office]) -> None:
    desk = office(limit_request_body=5)
    desk.ask("/a")
    peer = desk.wire.connect()
    chunk = b"6\r\n123456\r\n"
    answer = read_one(peer.feed(get("/b", "Transfer-Encoding: chunked", method="POST") + chunk))
    assert answer.status == 413
    desk.end("/a")
    assert (desk.calls, desk.counted("queue")) == (["/a"], 0)


def test_failing_applications_give_their_place_back(office: Callable[..., Office]) -> None:
    desk = office()
    desk.ask("/a")
    desk.ask("/b")
    desk.wire.call(desk.desk.waiting.pop("/a").set_exception, LookupError("failed"))
    assert desk.calls == ["/a", "/b"]
    assert [str(error) for error in desk.wire.errors] == ["failed"]


def test_client_of_a_running_application_leaves(office: Callable[..., Office]) -> None:
    """The place is free when the application has ended, not before."""
    desk = office()
    first = desk.ask("/a")
    desk.ask("/b")
    first.lose()
    assert desk.calls == ["/a"]
    desk.wire.call(desk.desk.waiting.pop("/a").cancel)
    assert desk.calls == ["/a", "/b"]


def test_health_passes(office: Callable[..., Office]) -> None:
    desk = office(queue=0, health_path=b"/healthz")
    desk.ask("/a")
    assert read_one(desk.ask("/healthz").take()).status == 200
    client = Http2Client(desk.wire)
    client.send(headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a")]))
    assert client.replies[1].status == 200


def test_draining(office: Callable[..., Office]) -> None:
    """Requests that wait when the server stops are served, each the last of its connection."""
    desk = office()
    first, second = desk.ask("/a"), desk.ask("/b")
    desk.wire.call(desk.wire.worker.drain)
    desk.end("/a")
    desk.end("/b")
    for peer, body in ((first, b"/a"), (second, b"/b")):
        answer = read_one(peer.take())
        assert (answer.status, answer.body, answer.get(b"connection")) == (200, body, b"close")


class TestWebSocket:
    def test_counts_by_its_handshake(self, office: Callable[..., Office]) -> None:
        """Once it is open it takes nobody's place, and gives none free when it closes."""
        desk = office()
        peer = desk.wire.connect()
        peer.put(upgrade("/ws"))
        desk.wire.settle()
        desk.ask("/a")
        assert desk.calls == ["/ws"]
        desk.end("/ws")
        found, _ = split_response(peer.take())
        assert found.status == 101
        assert desk.calls == ["/ws", "/a"]
        desk.ask("/b")
        assert read_frames(peer.feed(close()))[-1] == closing(1000)
        assert desk.calls == ["/ws", "/a"]
        desk.end("/a")
        assert desk.calls == ["/ws", "/a", "/b"]

    def test_denied(self, office: Callable[..., Office]) -> None:
        desk = office()
        peer = desk.wire.connect()
        peer.put(upgrade("/deny"))
        desk.wire.settle()
        desk.ask("/a")
        desk.end("/deny")
        found, _ = split_response(peer.take())
        assert found.status == 403
        assert desk.calls == ["/deny", "/a"]

    def test_waits(self, office: Callable[..., Office]) -> None:
        desk = office()
        desk.ask("/a")
        peer = desk.wire.connect()
        assert peer.feed(upgrade("/ws")) == b""
        assert desk.calls == ["/a"]
        desk.end("/a")
        desk.end("/ws")
        found, _ = split_response(peer.take())
        assert found.status == 101
        assert read_frames(peer.feed(close()))[-1] == closing(1000)

    def test_refused(self, office: Callable[..., Office]) -> None:
        desk = office(queue=0)
        desk.ask("/a")
        found, _ = split_response(desk.wire.connect().feed(upgrade("/ws")))
        assert (found.status, found.get(b"retry-after")) == (503, b"1")

    @pytest.mark.parametrize("how", ["lose", "eof"])
    def test_left(self, office: Callable[..., Office], how: str) -> None:
        desk = office()
        desk.ask("/a")
        peer = desk.wire.connect()
        peer.feed(upgrade("/ws"))
        getattr(peer, how)()
        desk.end("/a")
        assert (desk.calls, desk.refused()) == (["/a"], (0, 0, 1))

    def test_stop(self, office: Callable[..., Office]) -> None:
        """A handshake that waits is denied at once."""
        desk = office()
        desk.ask("/a")
        peer = desk.wire.connect()
        peer.feed(upgrade("/ws"))
        desk.wire.call(desk.wire.worker.drain)
        found, _ = split_response(peer.take())
        assert (found.status, desk.counted("queue")) == (503, 0)

    def test_over_http2(self, office: Callable[..., Office]) -> None:
        desk = office()
        desk.ask("/a")
        client = Http2Client(desk.wire)
        handshake = [
            *((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws")),
            *((":authority", "a"), ("sec-websocket-version", "13")),
        ]
        client.send(headers(1, handshake, end=False))
        assert 1 not in client.replies
        desk.end("/a")
        desk.end("/ws")
        client.hear()
        assert client.replies[1].status == 200
        desk.ask("/b")
        assert desk.calls == ["/a", "/ws", "/b"]
        client.send(rst_stream(1))


def to(path: str) -> list[tuple[str, str]]:
    return [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")]


class TestHttp2:
    def test_streams_of_one_connection_and_another(self, office: Callable[..., Office]) -> None:
        """The other's request is next, and not after all of the streams."""
        desk = office()
        client = Http2Client(desk.wire)
        client.send(*(headers(1 + 2 * number, to(f"/{number}")) for number in range(20)))
        other = desk.ask("/other")
        assert desk.calls == ["/0"]
        desk.end("/0")
        desk.end("/1")
        assert desk.calls == ["/0", "/1", "/other"]
        desk.end("/other")
        assert read_one(other.take()).body == b"/other"
        for number in range(2, 20):
            desk.end(f"/{number}")
        client.hear()
        assert [client.replies[1 + 2 * number].body for number in range(20)] == [
            b"/%d" % number for number in range(20)
        ]

    def test_queue_full_of_one_connection(self, office: Callable[..., Office]) -> None:
        """The other takes the place of the connection's newest."""
        desk = office(queue=10)
        client = Http2Client(desk.wire)
        client.send(*(headers(1 + 2 * number, to(f"/{number}")) for number in range(12)))
        reply = client.replies[23]
        assert (reply.status, reply.body, reply.head["retry-after"]) == (503, b"Service Unavailable", "1")
        desk.ask("/other")
        client.hear()
        assert client.replies[21].status == 503
        assert desk.refused() == (2, 0, 0)
        desk.end("/0")
        desk.end("/1")
        assert desk.calls == ["/0", "/1", "/other"]
        client.send(*(rst_stream(1 + 2 * number) for number in range(2, 10)))
        assert desk.refused() == (2, 0, 8)

    def test_late(self, office: Callable[..., Office]) -> None:
        desk = office(queue_timeout=3.0)
        desk.ask("/a")
        client = Http2Client(desk.wire)
        client.send(headers(1, POST, end=False), data(1, b"12345"))
        desk.wire.advance(4)
        client.hear()
        assert (client.replies[1].status, client.replies[1].ended) == (503, True)
        client.send(data(1, b"6", end=True))
        desk.end("/a")
        client.send(headers(3, to("/b")))
        assert desk.calls == ["/a", "/b"]

    @pytest.mark.parametrize("how", ["reset", "eof", "lose"])
    def test_left(self, office: Callable[..., Office], how: str) -> None:
        desk = office(limit_requests=2)
        desk.ask("/a")
        client = Http2Client(desk.wire)
        client.send(headers(1, to("/b")), headers(3, to("/c")))
        assert desk.calls == ["/a", "/b"]
        if how == "reset":
            client.send(rst_stream(3))
        else:
            getattr(client.peer, how)()
        assert desk.refused() == (0, 0, 1)
        desk.end("/a")
        assert (desk.calls, desk.counted("queue")) == (["/a", "/b"], 0)

    def test_reset_while_it_runs(self, office: Callable[..., Office]) -> None:
        """It counts until its application has ended."""
        desk = office()
        client = Http2Client(desk.wire)
        client.send(headers(1, to("/a")), headers(3, to("/b")))
        client.send(rst_stream(1))
        assert desk.calls == ["/a"]
        desk.end("/a")
        assert desk.calls == ["/a", "/b"]

    def test_reset_before_it_runs(self, office: Callable[..., Office]) -> None:
        """A stream that is reset in the same read gives its place to the next."""
        desk = office()
        client = Http2Client(desk.wire)
        client.send(headers(1, to("/a")) + headers(3, to("/b")) + rst_stream(1))
        assert desk.calls == ["/b"]

    def test_malformed_while_it_waits(self, office: Callable[..., Office]) -> None:
        desk = office(limit_request_body=5)
        desk.ask("/a")
        client = Http2Client(desk.wire)
        client.send(headers(1, POST, end=False), data(1, b"123456"))
        assert client.replies[1].status == 413
        client.send(headers(3, [*POST, ("content-length", "2")], end=False), data(3, b"123", end=True))
        assert client.replies[3].reset is not None
        desk.end("/a")
        assert (desk.calls, desk.counted("queue")) == (["/a"], 0)
        assert desk.wire.worker.admission.ends_awaited == 0

    def test_client_that_does_not_read(self, work: Work) -> None:
        """Streams that are not begun for its sake leave their places to others, and apply again once it reads."""
        calls = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            calls.append(scope["path"])
            await respond(send, bytes(1 << 21))

        wire = work(app, limit_requests=2, queue_timeout=3.0)
        client = Http2Client(wire, (INITIAL_WINDOW_SIZE, 0))
        client.send(*(headers(1 + 2 * number, to(f"/{number}")) for number in range(8)))
        begun = ["/0", "/1", "/2"]
        assert (calls, wire.worker.active, wire.worker.admission.length) == (begun, 0, 0)
        wire.advance(4)
        client.hear()
        peer = wire.connect()
        assert read_one(peer.feed(get("/other"))).status == 200
        assert calls == [*begun, "/other"]
        client.send(rst_stream(9))
        streams = (1, 3, 5, 7, 11, 13, 15)
        client.send(window_update(0, 1 << 30), *(window_update(stream, 1 << 22) for stream in streams))
        client.hear()
        assert sorted(calls) == ["/0", "/1", "/2", "/3", "/5", "/6", "/7", "/other"]
        assert all(len(client.replies[stream].body) == 1 << 21 for stream in streams)
        assert (wire.worker.active, wire.worker.admission.length, wire.worker.admission.ends_awaited) == (0, 0, 0)


def test_leftovers_and_queue(office: Callable[..., Office]) -> None:
    """Applications of streams that were reset, and requests that wait, both hear of ends."""
    desk = office(limit_requests=2)
    client = Http2Client(desk.wire)
    client.send(headers(1, to("/a")), headers(3, to("/b")), headers(5, to("/c")))
    client.send(rst_stream(1))
    assert desk.wire.worker.admission.ends_awaited == 2
    desk.end("/a")
    assert desk.calls == ["/a", "/b", "/c"]
    assert desk.wire.worker.admission.ends_awaited == 0


def test_pipelined(office: Callable[..., Office]) -> None:
    """Each request of a connection applies for itself, after the response to the one before."""
    desk = office()
    peer = desk.wire.connect()
    peer.put(get("/a") + get("/b"))
    desk.wire.settle()
    desk.ask("/other")
    desk.end("/a")
    assert desk.calls == ["/a", "/other"]
    desk.end("/other")
    assert desk.calls == ["/a", "/other", "/b"]
    desk.end("/b")
    assert [each.body for each in read_responses(peer.take())] == [b"/a", b"/b"]
