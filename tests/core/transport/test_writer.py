"""The write path: one buffer, one system call a turn, the transport for what the kernel does not take."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core.responses import read_one, read_response
from fakes.worker import FakeWorker, Peer, get, hello

Work = Callable[..., FakeWorker]
Pair = tuple[socket.socket, socket.socket]
direct_only = pytest.mark.skipif(os.name == "nt", reason="writes go through the transport there")


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(60)
    with ours, theirs:
        yield ours, theirs


def stream(pieces: int, size: int, suspend: bool = False) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(pieces):
            await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
            if suspend:
                await asyncio.sleep(0)
        await send({"type": "http.response.body"})

    return app


def drain(peer: Peer, pair: Pair) -> bytes:
    """What the client gets, while the transport's queue is sent on as the loop would."""
    data = b""
    pair[1].setblocking(False)
    while True:
        moved = False
        queued = peer.take()
        if queued:
            data_now = b""
            while True:  # all that went to the socket directly comes first
                try:
                    data_now += pair[1].recv(1 << 20)
                except BlockingIOError:
                    break
            data += data_now + queued
            moved = True
        try:
            data += pair[1].recv(1 << 20)
            moved = True
        except BlockingIOError:
            pass
        if peer.transport.writing_paused or peer.transport.stuck:
            peer.wire.call(peer.transport.unstick)
            peer.transport.stuck = True
            moved = moved or bool(peer.transport.writes)
        if not moved:
            return data


@direct_only
def test_straight_to_the_socket(work: Work, pair: Pair) -> None:
    peer = work(hello()).connect(socket=pair[0])
    assert peer.feed(get()) == b""
    assert read_one(pair[1].recv(65536)).body == b"hello"


def test_tls_goes_through_the_transport(work: Work, pair: Pair) -> None:
    peer = work(hello()).connect(socket=pair[0], sslcontext=object())
    assert read_one(peer.feed(get())).body == b"hello"
    pair[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        pair[1].recv(1)


@direct_only
@pytest.mark.parametrize(("pieces", "size"), [(1, 8 << 20), (2000, 4096), (40, 100000)])
def test_what_the_kernel_does_not_take_waits_in_the_transport(work: Work, pair: Pair, pieces: int, size: int) -> None:
    wire = work(stream(pieces, size))
    peer = wire.connect(socket=pair[0])
    peer.transport.stuck = True
    peer.put(get())
    wire.settle()
    assert peer.transport.high == 0  # so that every byte in its queue is known of
    assert peer.transport.writing_paused
    held = sum(map(len, peer.transport.writes))
    assert held <= size + 65536 + 100
    response, rest = read_response(drain(peer, pair))
    assert (response.body, rest) == (bytes(pieces * size), b"")


@direct_only
def test_nothing_overtakes_the_transport_s_queue(work: Work, pair: Pair) -> None:
    wire = work(hello(b"x" * 300000))
    peer = wire.connect(socket=pair[0])
    peer.transport.stuck = True
    peer.put(get() * 10)
    wire.settle()
    data = drain(peer, pair)
    for _ in range(10):
        response, data = read_response(data)
        assert response.body == b"x" * 300000
    assert data == b""


@direct_only
def test_a_socket_that_the_client_has_closed(work: Work, pair: Pair) -> None:
    errors: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await stream(3, 10, True)(scope, receive, send)
        except OSError as error:
            errors.append(type(error).__name__)
            raise

    wire = work(app, raise_disconnect=True)
    peer = wire.connect(socket=pair[0])
    pair[1].close()
    peer.feed(get())
    assert errors == ["ClientDisconnected"]
    assert peer.transport.calls[0] == "abort"
    assert wire.messages == []


def test_close_behind_what_waits(work: Work) -> None:
    wire = work(hello(b"x" * 1000))
    peer = wire.connect()
    peer.transport.high = 0
    peer.transport.stuck = True
    peer.feed(get())
    assert peer.feed(get("/", "Connection: close")) == b""
    assert not peer.ended
    wire.call(peer.transport.unstick)
    assert read_one(peer.take()).get(b"connection") == b"close"
    assert peer.transport.calls == ["write_eof"]


def test_the_write_deadline(work: Work) -> None:
    wire = work(stream(100, 10000), timeout_write=60)
    peer = wire.connect()
    peer.transport.stuck = True
    peer.feed(get())
    wire.advance(59)
    assert not peer.transport.closed
    wire.advance(2)
    assert peer.transport.calls == ["abort"]
    assert wire.messages == []


def test_the_write_deadline_starts_anew_with_progress(work: Work) -> None:
    wire = work(stream(100, 10000), timeout_write=60)
    peer = wire.connect()
    peer.transport.stuck = True
    peer.feed(get())
    for _ in range(5):
        peer.transport.queue -= 1
        wire.advance(61)
        assert not peer.transport.closed
    wire.advance(61)
    assert peer.transport.closed


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what is unread in a UNIX socket")
def test_progress_that_leaves_no_room_for_the_queue(work: Work, pair: Pair) -> None:
    """The kernel takes no more of the queue before much of what it has is read."""
    wire = work(stream(100, 10000), timeout_write=60)
    peer = wire.connect(socket=pair[0])
    peer.transport.stuck = True
    peer.feed(get())
    assert peer.transport.queue
    for _ in range(3):
        assert pair[1].recv(40_000)
        wire.advance(61)
        assert not peer.transport.closed
    wire.advance(61)
    assert peer.transport.closed


def test_a_queue_that_the_client_reads_in_time_has_no_deadline_left(work: Work) -> None:
    wire = work(stream(100, 10000), timeout_write=60, timeout_keep_alive=0)
    peer = wire.connect()
    peer.transport.stuck = True
    peer.feed(get())
    wire.call(peer.transport.unstick)
    wire.advance(1000)
    assert not peer.transport.closed
