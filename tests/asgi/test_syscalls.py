"""How many system calls an exchange takes: one read and one write where it is small, and no more for several at once.

Reads are counted by the kernel for the server's thread, which the event loop of uvloop makes with read(2). Writes are
seen at the other end: on an idle loopback connection without Nagle's algorithm each of them arrives as a segment of its
own.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Running, Serve

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux gives them")

EXCHANGES = 20
ROUNDS = 60
DATA_SEGMENTS_IN = 152  # where struct tcp_info has tcpi_data_segs_in (linux/tcp.h)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024


class Client:
    """A connection to the server, and what the kernel has counted of it."""

    def __init__(self, server: Running, thread: int) -> None:
        self.sock = server.connect()
        self.io = Path(f"/proc/self/task/{thread}/io")

    def reads(self) -> int:
        """Calls of read(2) by the server's thread so far."""
        counts = dict(line.split(": ") for line in self.io.read_text().splitlines())
        return int(counts["syscr"])

    def segments(self) -> int:
        """Segments with data that have come from the server so far."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        if len(info) < DATA_SEGMENTS_IN + 4:
            pytest.skip("this kernel does not count segments with data")
        return int(struct.unpack_from("=I", info, DATA_SEGMENTS_IN)[0])

    def exchange(self, request: bytes, answers: int = 1) -> None:
        """Send it in one piece and read all of its responses."""
        self.sock.sendall(request)
        received = b""
        while received.count(b"!") < answers:
            piece = self.sock.recv(65536)
            assert piece, received
            received += piece
        assert received.count(b"HTTP/1.1 200 OK\r\n") == answers

    def writes_for(self, request: bytes, answers: int = 1, least: int = EXCHANGES) -> int:
        """Writes of the server for EXCHANGES exchanges, in the best of many rounds, or in the first with the least.

        A machine that does not run the server for a while makes it believe that the application is slow, and nothing is
        held for the exchanges that follow; the rounds are more than these.
        """
        counts = set()
        for _ in range(ROUNDS):
            before = self.segments()
            for _ in range(EXCHANGES):
                self.exchange(request, answers)
            counts.add(self.segments() - before)
            if min(counts) <= least:
                break
        return min(counts)

    def reads_for(self, request: bytes, answers: int = 1) -> int:
        """Reads of the server for EXCHANGES exchanges."""
        self.exchange(request, answers)  # what is loaded for the first is not counted
        before = self.reads()
        for _ in range(EXCHANGES):
            self.exchange(request, answers)
        return self.reads() - before


class App:
    """Answers with a body that ends in "!"; `pause` sends it in two parts with a turn of the loop in between."""

    def __init__(self) -> None:
        self.thread = 0
        self.pause = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.thread = threading.get_native_id()
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        if self.pause:
            await asyncio.sleep(0.001)
        await send({"type": "http.response.body", "body": b"!"})


@pytest.fixture
def app() -> App:
    return App()


def connected(serve: Serve, app: App, loop: str) -> Client:
    server = serve(app, loop=loop)
    server.fetch()
    return Client(server, app.thread)


@pytest.fixture(params=["uvloop", "asyncio"])
def client(request: pytest.FixtureRequest, serve: Serve, app: App) -> Iterator[Client]:
    client = connected(serve, app, request.param)
    with client.sock:
        yield client


@pytest.fixture
def counted(serve: Serve, app: App) -> Iterator[Client]:
    """With uvloop alone: asyncio reads with recv(2), which the kernel does not count."""
    client = connected(serve, app, "uvloop")
    with client.sock:
        if not client.io.exists():
            pytest.skip("this kernel does not count the system calls of a thread")
        yield client


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["get", "post"])
def test_an_exchange_is_one_write(client: Client, request_bytes: bytes) -> None:
    """Head and body of a response, also in two messages, leave together."""
    assert client.writes_for(request_bytes) == EXCHANGES


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["get", "post"])
def test_an_exchange_is_one_read(counted: Client, request_bytes: bytes) -> None:
    """Nothing is read again to see that nothing is there."""
    assert counted.reads_for(request_bytes) == EXCHANGES


def test_pipelined_exchanges_share_a_write(client: Client) -> None:
    """The responses to what came in one packet leave in one."""
    assert client.writes_for(16 * GET, 16) == EXCHANGES


def test_pipelined_exchanges_share_a_read(counted: Client) -> None:
    """They are served from what has been read already."""
    assert counted.reads_for(16 * GET, 16) == EXCHANGES


def test_writes_are_seen_apart(client: Client, app: App) -> None:
    """The measure itself: what is sent later is a write of its own; on a busy machine a segment may be sent again."""
    app.pause = True
    assert client.writes_for(GET, least=2 * EXCHANGES) == 2 * EXCHANGES


def test_reads_are_seen_apart(counted: Client) -> None:
    """The measure itself: what comes later is read on its own."""
    counted.exchange(GET)
    before = counted.reads()
    for _ in range(EXCHANGES):
        counted.sock.sendall(GET + GET[:10])
        counted.exchange(b"", 1)
        counted.exchange(GET[10:], 1)
    assert counted.reads() - before == 2 * EXCHANGES
