"""How much of a fast upload the kernel waits for: the mark is raised where that pays, and never for long."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes.http2 import PADDED, POST, Http2Client, data, frame, headers, rst_stream
from fakes.worker import TIME, FakeWorker, read_body, respond

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="poll() of other systems is not known to heed the mark")

Work = Callable[..., FakeWorker]
FRAME = 16384
LEAST = 12 * FRAME
SURE = 2 * FRAME  # more than LEAST that has to follow
LARGE = 4 << 20


async def reading(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, await read_body(receive))


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours


def mark(sock: socket.socket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


def begun(wire: FakeWorker, sock: socket.socket, length: int | None = LARGE) -> Http2Client:
    """Return a client that has begun an upload, which its application reads; the loop's timers heed TIME."""
    wire.loop.time = lambda: TIME.when  # type: ignore[method-assign]
    client = Http2Client(wire, socket=sock)
    fields = POST if length is None else [*POST, ("content-length", str(length))]
    client.send(headers(1, fields, end=False))
    return client


def upload(client: Http2Client, frames: int, size: int = FRAME) -> None:
    client.send(*[data(1, bytes(size))] * frames)


def pass_by(client: Http2Client) -> None:
    """Let as much time go by as the mark's timer waits."""
    TIME.wait(0.0021)
    client.wire.turn(2)


def test_a_fast_upload(work: Work, sock: socket.socket) -> None:
    client = begun(work(reading), sock)
    upload(client, 11)
    assert mark(sock) == 1
    upload(client, 1)
    assert mark(sock) == LEAST
    client.peer.lose()


def test_it_ends_before_the_body_does(work: Work, sock: socket.socket) -> None:
    size = 24 * FRAME + LEAST + SURE
    client = begun(work(reading), sock, size)
    upload(client, 24)
    assert mark(sock) == LEAST
    upload(client, 1)
    assert mark(sock) == 1
    upload(client, 13)
    assert mark(sock) == 1
    client.peer.lose()


def test_it_ends_with_the_window(work: Work, sock: socket.socket) -> None:
    """What the client may send counts, not what it has."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()  # of the window of 1 MiB, what comes after this is not taken
        while (await receive())["type"] == "http.request":
            await wire.loop.create_future()

    wire = work(app)
    client = begun(wire, sock)
    upload(client, 45)
    assert mark(sock) == LEAST
    upload(client, 8)
    assert mark(sock) == 1
    client.peer.lose()


@pytest.mark.parametrize("length", [None, LEAST])
def test_how_much_follows_is_not_known_or_little(work: Work, sock: socket.socket, length: int | None) -> None:
    client = begun(work(reading), sock, length)
    upload(client, 12 if length else 40)
    assert mark(sock) == 1
    client.peer.lose()


def test_a_slow_upload(work: Work, sock: socket.socket) -> None:
    client = begun(work(reading), sock)
    for _ in range(40):
        upload(client, 4)
        TIME.wait(0.0021)
    assert mark(sock) == 1
    client.peer.lose()


def test_large_reads_need_none(work: Work, sock: socket.socket) -> None:
    client = begun(work(reading), sock)
    for _ in range(5):
        client.send(data(1, bytes(FRAME)) * 13)
    assert mark(sock) == 1
    client.peer.lose()


def test_an_upload_that_stops(work: Work, sock: socket.socket) -> None:
    client = begun(work(reading), sock)
    upload(client, 12)
    assert mark(sock) == LEAST
    upload(client, 1)
    pass_by(client)
    assert mark(sock) == LEAST
    pass_by(client)
    assert mark(sock) == 1
    upload(client, 12)
    assert mark(sock) == LEAST, "it has begun anew"
    client.peer.lose()


@pytest.mark.parametrize("fault", [frame(0, PADDED, 1), data(0)])
def test_a_connection_that_closes(work: Work, sock: socket.socket, fault: bytes) -> None:
    client = begun(work(reading), sock)
    upload(client, 12)
    client.send(fault)
    assert mark(sock) == 1


def test_a_connection_that_is_lost(work: Work, sock: socket.socket) -> None:
    """Its descriptor may be that of another one by now."""
    client = begun(work(reading), sock)
    upload(client, 12)
    client.peer.lose()
    pass_by(client)
    pass_by(client)
    assert mark(sock) == LEAST


def test_a_stream_that_is_reset(work: Work, sock: socket.socket) -> None:
    client = begun(work(reading), sock)
    upload(client, 12)
    client.send(rst_stream(1), headers(3, [*POST, ("content-length", "20000")], end=False) + data(3, bytes(10_000)))
    assert mark(sock) == 1
    client.peer.lose()


def test_without_a_socket(work: Work) -> None:
    client = begun(work(reading), sock=None)  # type: ignore[arg-type]
    upload(client, 40)
    assert client.updates(1) > 1 << 20
