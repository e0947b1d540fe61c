"""Answers that go before their request is complete: what their head says, and how long the connection is read after."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core.responses import read_one
from fakes.worker import FakeWorker, Peer, get, hello, post, respond

Work = Callable[..., FakeWorker]

MIB = 1 << 20
UPLOAD = get("/", f"Content-Length: {100 * MIB}", method="POST")


def lingering(wire: FakeWorker) -> Peer:
    """Return a client whose upload has its response."""
    peer = wire.connect()
    assert read_one(peer.feed(UPLOAD)).get(b"connection") == b"close"
    assert peer.transport.calls == ["write_eof"]
    return peer


def in_two(declared: bool) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"2")] if declared else []
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"n", "more_body": True})
        await send({"type": "http.response.body", "body": b"o"})

    return app


@pytest.mark.parametrize("app", [hello(b"no", 401), in_two(True), in_two(False)])
@pytest.mark.parametrize(
    ("request_bytes", "closes"),
    [
        (get("/", f"Content-Length: {MIB}", method="POST"), False),
        (get("/", f"Content-Length: {MIB + 1}", method="POST"), True),
        (get("/", f"Content-Length: {MIB + 3}", method="POST") + b"abc", False),
        (get("/", "Transfer-Encoding: chunked", method="POST"), True),
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"1\r\na\r\n0\r\n\r", True),
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"1\r\na\r\n0\r\n\r\n", False),
        (post(b"x" * 10), False),
    ],
)
def test_the_head_says_whether_the_server_will_close(work: Work, app: Any, request_bytes: bytes, closes: bool) -> None:
    peer = work(app).connect()
    response = read_one(peer.feed(request_bytes))
    assert (response.get(b"connection"), peer.ended) == ((b"close", True) if closes else (None, False))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize(
    ("fields", "headers", "sent", "calls"),
    [
        (["Connection: close"], [], b"", ["close"]),
        (["Connection: close"], [], b"GET", []),  # which a close would answer with a reset
        ([], [(b"connection", b"close")], b"", []),
    ],
)
def test_a_client_that_asked_for_the_close_is_not_waited_for(
    work: Work, pair: tuple[socket.socket, socket.socket], fields: list[str], headers: Any, sent: bytes, calls: Any
) -> None:
    wire = work(hello(headers=headers))
    peer = wire.connect(socket=pair[0])
    pair[1].sendall(sent)
    peer.feed(get("/", *fields))
    assert read_one(pair[1].recv(65536)).get(b"connection") == b"close"
    assert peer.transport.calls == calls
    peer.lose()


def test_it_goes_on_as_long_as_the_client_sends_for_30_seconds(work: Work) -> None:
    peer = lingering(work(hello()))
    for _ in range(7):
        peer.wire.advance(4)
        assert peer.feed(b"x" * 65536) == b""
    peer.wire.advance(1.5)
    assert not peer.transport.closed
    peer.feed(b"x")
    peer.wire.advance(1)
    assert peer.transport.calls == ["write_eof", "abort"]


def test_it_ends_after_5_seconds_of_silence(work: Work) -> None:
    peer = lingering(work(hello()))
    peer.wire.advance(4)
    peer.feed(b"x")
    peer.wire.advance(4.5)
    assert not peer.transport.closed
    peer.wire.advance(1)
    assert peer.transport.closed


def test_it_ends_with_the_client(work: Work) -> None:
    peer = lingering(work(hello()))
    peer.eof()
    assert peer.transport.closed


def test_at_most_256_of_a_worker_and_the_oldest_makes_place(work: Work) -> None:
    wire = work(hello())
    peers = [lingering(wire) for _ in range(256)]
    peers[1].eof()
    lingering(wire)
    assert not any(peer.transport.closed for peer in (peers[0], peers[2]))
    lingering(wire)
    assert peers[0].transport.closed
    lingering(wire)
    assert [peer.transport.closed for peer in peers[:4]] == [True, True, True, False]


def test_they_do_not_count_for_the_limit(work: Work) -> None:
    wire = work(hello(), limit_concurrency=2)
    for _ in range(3):
        lingering(wire)
    assert read_one(wire.connect().feed(get())).status == 200


def test_what_the_client_has_not_taken_does_not_end_by_it(work: Work) -> None:
    wire = work(hello(b"x" * 100_000), timeout_write=0)
    peer = wire.connect()
    peer.transport.stuck = True
    peer.feed(UPLOAD)
    for _ in range(10):
        wire.advance(6)
    assert not peer.transport.closed
    peer.transport.unstick()
    wire.settle()
    wire.advance(6)
    wire.advance(26)
    assert peer.transport.closed


def test_a_stop_ends_it_after_a_fifth_of_a_second(work: Work) -> None:
    """Without a socket there is nobody to ask whether the client has its response."""
    waiting: list[asyncio.Future[None]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/wait":
            waiting.append(asyncio.get_running_loop().create_future())
            await waiting[0]
        await respond(send)

    wire = work(app)
    before, after = lingering(wire), wire.connect()
    after.feed(UPLOAD.replace(b"/", b"/wait", 1))
    wire.call(wire.worker.drain)
    wire.call(waiting[0].set_result, None)
    wire.advance(0.1)
    assert before.feed(b"x") + after.feed(b"x")
    assert [peer.transport.closed for peer in (before, after)] == [False, False]
    wire.advance(0.12)
    assert [peer.transport.closed for peer in (before, after)] == [True, True]


def test_who_announces_a_stop_still_reads(work: Work) -> None:
    wire = work(hello())
    peer = lingering(wire)
    wire.call(wire.worker.announce_drain)
    lingering(wire)
    wire.advance(4)
    assert not peer.transport.closed
