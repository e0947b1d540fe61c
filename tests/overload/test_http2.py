"""Known attacks on HTTP/2, by what they do: how the connection ends, what they may take, and that others are served."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import hpack
import pytest
from core.frames import binary, text
from fakes.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GET,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    RST_STREAM,
    WINDOW_UPDATE,
    Frame,
    data,
    frame,
    headers,
    parse,
    ping,
    priority,
    raw_block,
    rst_stream,
    settings,
    window_update,
)
from load import PATIENCE, LoadedServer, until
from load_app import BUSY_SECONDS
from overload import checks
from overload.crowd import HELLO, PROMPT, processor_seconds, settled
from protocol.wire import Wire

from bench.load.rows import BROWSER_HEADERS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MOST = 4 << 20  # bytes that an attack may take
WEBSOCKET = 16 << 10  # bytes that an open WebSocket may take, with its task, on each Python; without what it sends
FLOODED = 1.0  # seconds, as PROMPT: a read has some 9,000 messages, and each is given to its application
LARGEST = 2**31 - 1  # of a window
STREAMS = 128  # that a connection may have at a time
IDLE = 500
BUSY = b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n"
BOMB = b"\x40\x03x-a\x7f\x81\x1e" + b"b" * 3968


def to(path: str, method: str = "GET") -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")]


def rapid_resets() -> Iterator[bytes]:
    for stream in range(1, 40_000, 2):
        yield headers(stream, to("/waiting")) + rst_stream(stream)


def made_resets() -> Iterator[bytes]:
    for stream in range(1, 40_000, 2):
        yield headers(stream, to("/waiting")) + window_update(stream, 0)


def continuations(size: int) -> Iterator[bytes]:
    yield frame(HEADERS, END_STREAM, 1, raw_block(GET))
    for _ in range(100_000):
        yield frame(CONTINUATION, 0, 1, bytes(size))


def empty_data() -> Iterator[bytes]:
    yield headers(1, to("/waiting", "POST"), end=False)
    yield from (data(1) for _ in range(100_000))


def repeated(one: bytes, count: int) -> Iterator[bytes]:
    return (one for _ in range(count))


ATTACKS = {
    "rapid resets (CVE-2023-44487)": (rapid_resets, ENHANCE_YOUR_CALM),
    "resets that we are made to send (CVE-2025-8671)": (made_resets, ENHANCE_YOUR_CALM),
    "CONTINUATION of a byte (CVE-2024-27316)": (lambda: continuations(1), ENHANCE_YOUR_CALM),
    "empty CONTINUATION": (lambda: continuations(0), ENHANCE_YOUR_CALM),
    "SETTINGS (CVE-2019-9515)": (lambda: repeated(settings(), 20_000), ENHANCE_YOUR_CALM),
    "PING (CVE-2019-9512)": (lambda: repeated(ping(), 200_000), ENHANCE_YOUR_CALM),
    "empty DATA (CVE-2019-9518)": (empty_data, ENHANCE_YOUR_CALM),
    "PRIORITY (CVE-2019-9513)": (lambda: repeated(priority(1), 100_000), ENHANCE_YOUR_CALM),
    "unknown frames": (lambda: repeated(frame(99, 0, 0), 100_000), ENHANCE_YOUR_CALM),
    "WINDOW_UPDATE": (lambda: repeated(window_update(0, 1), 100_000), ENHANCE_YOUR_CALM),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoadedServer]:
    with LoadedServer(tmp_path / "log", *checks.PATIENT) as started:
        yield started


class Attacker(threading.Thread):
    """Sends what it is given until the server has had enough; `code` is what it is told then."""

    def __init__(self, server: LoadedServer, pieces: Iterator[bytes], reads: bool) -> None:
        super().__init__()
        self.sock = server.connect()
        self.pieces = pieces
        self.reads = reads
        self.heard = b""
        self.code: int | None = None

    def run(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendall(PREFACE + settings())
            batch = b""
            for piece in self.pieces:
                batch += piece
                if len(batch) > 4096:
                    self.sock.sendall(batch)
                    batch = b""
                    if self.reads and self.read():
                        break
            self.sock.sendall(batch)
        self.sock.settimeout(PATIENCE)
        with contextlib.suppress(OSError):
            while piece := self.sock.recv(65536):
                self.heard += piece
        self.sock.close()
        for each in parse(self.heard)[0]:
            if each.type == GOAWAY:
                self.code = struct.unpack(">II", each.payload[:8])[1]

    def read(self) -> bool:
        """Read what there is; whether that was the end."""
        self.sock.settimeout(0)
        try:
            while True:
                piece = self.sock.recv(65536)
                self.heard += piece
                if not piece:
                    return True
        except BlockingIOError:
            return False
        finally:
            self.sock.settimeout(PATIENCE)


def test_who_keeps_the_loop_is_found(server: LoadedServer) -> None:
    """What the tests below measure is no less than the time for which an application keeps others from being served."""
    with Wire(server.connect()) as wire:
        wire.ask(HELLO)
        assert processor_seconds(server) < PROMPT
        assert processor_seconds(server, lambda: wire.send(BUSY)) > BUSY_SECONDS > PROMPT
        assert wire.response().body == b"ok"


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
@pytest.mark.parametrize("name", ATTACKS)
def test_attack(server: LoadedServer, name: str, reads: bool) -> None:
    pieces, code = ATTACKS[name]
    before = checks.quiet_memory(server)
    attacker = Attacker(server, pieces(), reads)
    attacker.start()
    while attacker.is_alive():
        assert processor_seconds(server) < PROMPT
    attacker.join()
    assert attacker.code == code
    assert server.quiet_state()["memory"] - before < MOST


def test_a_bomb_of_fields(server: LoadedServer) -> None:
    """CVE-2016-6581: 64 MiB of fields in each of 100 blocks."""
    before = checks.quiet_memory(server)
    with server.connect() as sock:
        sock.sendall(PREFACE + settings())
        for stream in range(1, 200, 2):
            sock.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream, raw_block(GET) + BOMB + b"\xbe" * 12_000))
            if stream % 20 == 1:
                assert processor_seconds(server) < PROMPT
        heads: list[Frame] = []
        heard = b""
        while len(heads) < 100:
            heard += sock.recv(65536)
            heads = [each for each in parse(heard)[0] if each.type == HEADERS]
        decoder = hpack.Decoder()
        assert all(dict(decoder.decode(each.payload, raw=True))[b":status"] == b"431" for each in heads)
        assert server.state()["memory"] - before < MOST


def test_responses_that_nobody_takes(server: LoadedServer) -> None:
    """CVE-2019-9517: with windows of 0, few of 300 responses of 1 MiB are made; others wait, or are refused."""
    before = checks.quiet_memory(server)
    with server.connect() as sock:
        sock.sendall(PREFACE + settings((INITIAL_WINDOW_SIZE, 0)))
        for stream in range(1, 601, 2):
            sock.sendall(headers(stream, to("/megabyte")))
        heard, refused = b"", 0
        while refused < 300 - STREAMS:
            heard += sock.recv(65536)
            refused = sum(each.type == RST_STREAM for each in parse(heard)[0])
        until(lambda: server.state()["live"]["exchange"] > 100, "the requests are there")
        assert server.state()["memory"] - before < MOST
        assert processor_seconds(server) < PROMPT


def test_idle_connections(server: LoadedServer) -> None:
    """Each has had a browser's request, whose fields are in the tables of both sides."""
    fields = [(name.lower(), value) for name, value in BROWSER_HEADERS if name != "Connection"]
    block = hpack.Encoder().encode([*to("/"), *fields])
    with contextlib.ExitStack() as connections:

        def open_some(count: int) -> None:
            for _ in range(count):
                sock = connections.enter_context(server.connect())
                sock.sendall(PREFACE + settings() + frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
                heard = b""
                while not has_ended(heard):
                    heard += sock.recv(65536)

        open_some(IDLE // 5)  # what the first take is not all theirs
        before = server.state()["memory"]
        open_some(IDLE)
        state = checks.check_memory(server, IDLE, before, 9 * checks.KIB, "idle connections", print)
        assert state["live"]["buffer"] <= 1, "an idle connection holds a buffer"


def has_ended(heard: bytes) -> bool:
    return any(each.type == DATA and each.flags & END_STREAM for each in parse(heard)[0])


def test_uploads_that_nobody_takes(server: LoadedServer) -> None:
    """On each stream at most what its first window allows is kept."""
    before = checks.quiet_memory(server)
    with server.connect() as sock:
        sock.sendall(PREFACE + settings())
        for stream in range(1, 257, 2):
            sock.sendall(headers(stream, to("/stuck", "POST"), end=False))
            sock.sendall(b"".join(data(stream, bytes(16383)) for _ in range(4)))
        until(lambda: server.state()["live"]["task"] > 127, "the applications run")
        assert server.state()["memory"] - before < 128 * 80 * 1024
        assert processor_seconds(server) < PROMPT


def websocket(stream: int, path: str) -> bytes:
    return headers(
        stream, [*to(path, "CONNECT"), (":protocol", "websocket"), ("sec-websocket-version", "13")], end=False
    )


class Flood(threading.Thread):
    """Sends very many small messages on one stream, each in a frame of its own, and counts what comes back; on another
    stream it sends one from time to time."""

    def __init__(self, server: LoadedServer, count: int) -> None:
        super().__init__()
        self.sock = server.connect()
        self.count = count
        self.credit = 65535
        self.rest = b""
        self.echoed = {1: 0, 3: 0}

    def run(self) -> None:
        message = data(1, text("x"))
        with self.sock:
            self.sock.sendall(PREFACE + settings((INITIAL_WINDOW_SIZE, LARGEST)) + window_update(0, LARGEST - 65535))
            self.sock.sendall(websocket(1, "/echo") + websocket(3, "/echo"))
            left = self.count
            while left:
                size = min(self.credit // 7, left, 5000)
                self.sock.sendall(message * size + data(3, text("y")))
                self.credit -= 7 * size
                left -= size
                self.read()
            while self.echoed[1] < 3 * self.count:
                self.read()

    def read(self) -> None:
        frames, self.rest = parse(self.rest + self.sock.recv(1 << 20))
        for each in frames:
            if each.type == WINDOW_UPDATE and each.stream == 1:
                self.credit += each.number
            elif each.type == DATA:
                self.echoed[each.stream] += len(each.payload)


def test_a_flood_of_messages(server: LoadedServer) -> None:
    """They are echoed, and so are those of another WebSocket on the connection; meanwhile somebody else is served."""
    before = checks.quiet_memory(server)
    flood = Flood(server, 200_000)
    flood.start()
    while flood.is_alive():
        assert processor_seconds(server) < FLOODED
    flood.join()
    assert flood.echoed[1] == 3 * flood.count
    assert flood.echoed[3] > 0
    assert server.quiet_state()["memory"] - before < MOST


@pytest.mark.parametrize("window", [0, 65535, LARGEST])
def test_websockets_that_are_not_read(server: LoadedServer, window: int) -> None:
    """Each application waits in send(), and few of 128 are started."""
    before = checks.quiet_memory(server)
    with server.connect() as sock:
        sock.sendall(PREFACE + settings((INITIAL_WINDOW_SIZE, window)) + window_update(0, LARGEST - 65535))
        for stream in range(1, 257, 2):
            sock.sendall(websocket(stream, "/endless"))
        until(lambda: server.state()["live"]["exchange"] > 128, "the handshakes are there")
        settled(server, lambda: server.state()["sends"]["done"], "nothing more is sent")
        assert 0 < server.state()["sends"]["waiting"] <= 128
        assert server.state()["memory"] - before < MOST + STREAMS * WEBSOCKET  # a piece of each were 8 MiB
        assert processor_seconds(server) < PROMPT
    until(lambda: server.state()["live"]["websocket"] == 0, "all are gone")


def test_messages_that_nobody_takes(server: LoadedServer) -> None:
    """On each stream what its first window allows is kept, and as much before that."""
    before = checks.quiet_memory(server)
    with server.connect() as sock:
        sock.sendall(PREFACE + settings())
        for stream in range(1, 257, 2):
            sock.sendall(websocket(stream, "/stuck"))
            sock.sendall(b"".join(data(stream, binary(bytes(10_000))) for _ in range(6)))
        until(lambda: server.state()["live"]["websocket"] == 128, "they are open")
        assert processor_seconds(server) < PROMPT
        assert server.state()["memory"] - before < 128 * 2 * 80 * 1024


def test_a_connection_that_is_lost_in_the_middle(server: LoadedServer) -> None:
    for _ in range(20):
        with server.connect() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(PREFACE + settings((INITIAL_WINDOW_SIZE, 1 << 20)) + window_update(0, 1 << 24))
            sock.sendall(b"".join(headers(stream, to("/large")) for stream in range(1, 101, 2)))
            sock.sendall(headers(101, to("/echo", "POST"), end=False) + data(101, bytes(10_000)))
            sock.recv(1000)
    until(lambda: server.state()["live"]["connection"] == 1, "all are gone")
    state = server.quiet_state()
    assert (state["live"]["exchange"], state["live"]["task"]) == (1, 1)
