"""The listener by itself: what it takes, what it refuses, and how many clients it has at a time."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from load import until
from support import PATIENCE, read_all

from fastserve.metrics import listener as module
from fastserve.metrics.listener import Listener, Request, Response, is_own_name, parsed
from fastserve.metrics.queues import listener_name, overflows, queue_of


class Fixture:
    """A listener on loopback whose endpoints tell what they got, or wait."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.go_on = threading.Event()
        self.waiting = threading.Semaphore(0)
        self.listener = Listener([self.socket], {"/": self.show, "/wait": self.wait, "/fail": self.fail})
        self.address = self.socket.getsockname()
        self.listener.start()

    def show(self, request: Request) -> Response:
        seen = f"{request.method} {request.query} {request.headers.get('x', '')}"
        return Response(200, seen, headers=(("X-A", "b"),))

    def wait(self, request: Request) -> Response:
        self.waiting.release()
        self.go_on.wait(PATIENCE)
        return Response(200, "done")

    def fail(self, request: Request) -> Response:
        raise ValueError

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE)

    def ask(self, request: bytes) -> bytes:
        with self.connect() as client:
            client.sendall(request)
            return read_all(client)


@pytest.fixture
def small() -> Iterator[Fixture]:
    made = Fixture()
    yield made
    made.go_on.set()
    made.listener.stop()


def test_get_and_head(small: Fixture) -> None:
    response = small.ask(b"GET /?a=b HTTP/1.1\r\nHost: localhost:1\r\nX: y\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert response.endswith(b"\r\n\r\nGET a=b y")
    for line in (b"X-A: b", b"Connection: close", b"Content-Length: 9", b"Cache-Control: no-store"):
        assert b"\r\n" + line + b"\r\n" in response
    response = small.ask(b"HEAD /?a=b HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    assert response.endswith(b"Connection: close\r\n\r\n")
    assert b"Content-Length: 9\r\n" in response


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: [::1].rebound.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:rebound.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: [localhost]\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: [127.0.0.1]\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\n\r\n", 421),
        (b"GET /fail HTTP/1.1\r\nHost: localhost\r\n\r\n", 500),
        (b"nonsense\r\n\r\n", 400),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_refusals(small: Fixture, request_: bytes, status: int) -> None:
    assert small.ask(request_).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        *(("localhost", True), ("LOCALHOST:9", True), ("127.0.0.1:9", True), ("[::1]:9", True), ("10.0.0.1", True)),
        *(("localhost.example", False), ("", False), ("a:9", False), ("[a]", False), ("127.0.0.1.example", False)),
    ],
)
def test_own_names(host: str, own: bool) -> None:
    assert is_own_name(host) is own


def test_a_ninth_client_waits(small: Fixture) -> None:
    clients = [small.connect() for _ in range(module.CLIENTS)]
    for client in clients:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert small.waiting.acquire(timeout=PATIENCE)
    with small.connect() as ninth:
        ninth.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not small.waiting.acquire(timeout=0.2)
        small.go_on.set()
        assert read_all(ninth).endswith(b"done")
    for client in clients:
        assert read_all(client).endswith(b"done")
        client.close()


def test_slow_clients_are_dropped(small: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.2)
    with small.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert read_all(client) == b""


def test_bounded_request() -> None:
    assert parsed(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000 + b"\r\n") is None


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_accept_queue(family: str, tmp_path: object) -> None:
    """What waits to be accepted, and how much may."""
    if family == "tcp":
        sock = socket.create_server(("127.0.0.1", 0), backlog=5)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(f"{tmp_path}/s")
        sock.listen(5)
    with sock:
        clients = []
        for waiting in range(3):
            assert queue_of(sock) == (waiting, 5)
            clients.append(socket.socket(sock.family))
            clients[-1].connect(sock.getsockname())
        sock.accept()[0].close()
        assert queue_of(sock) == (2, 5)
        name = listener_name(sock)
        assert name.startswith("127.0.0.1:" if family == "tcp" else f"unix:{tmp_path}")
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()


def test_overflows() -> None:
    count = overflows()
    assert count is not None
    assert count >= 0


def test_stop_lets_a_response_be_sent(small: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may end right after stop(), and the threads with it."""
    monkeypatch.setattr("fastserve.metrics.listener.LAST_SECONDS", PATIENCE)
    with small.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert small.waiting.acquire(timeout=PATIENCE)
        stopping = threading.Thread(target=small.listener.stop)
        stopping.start()
        stopping.join(0.2)
        assert stopping.is_alive()
        small.go_on.set()
        stopping.join(PATIENCE)
        assert not stopping.is_alive()
        assert read_all(client).endswith(b"done")


def test_stop_does_not_wait_for_a_place(small: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that say nothing take all of them."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 2 * PATIENCE)  # until then the places are taken
    clients = [small.connect() for _ in range(module.CLIENTS + 1)]
    until(lambda: small.listener._places._value == 0, "no place")
    stopping = threading.Thread(target=small.listener.stop, daemon=True)
    stopping.start()
    stopping.join(PATIENCE)
    waited = stopping.is_alive()
    for client in clients:
        client.close()
    assert not waited


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_stop_leaves_no_thread(sent: bytes) -> None:
    """A client that waits, or reads its response and does not close, has no thread that outlives the listener."""
    before = set(threading.enumerate())
    small = Fixture()
    with small.connect() as client:
        client.sendall(sent)
        if sent.endswith(b"\r\n\r\n"):
            read_all(client)
        until(lambda: len(set(threading.enumerate()) - before) == 2, "a thread for the client")
        small.listener.stop()
        assert set(threading.enumerate()) == before
