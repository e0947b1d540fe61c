"""Applications that are called in the event loop's thread (--wsgi-threads 0)."""

from __future__ import annotations

import asyncio
import ctypes
import io
import logging
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import support
from core.responses import Client
from fakes.worker import chunked, get, post

from fastserve.wsgi import inline

Environ = dict[str, Any]
Connect = Callable[..., Client]
Log = Callable[[], list[str]]
Start = Callable[..., support.Running]
ROUNDS = 20  # enough for requests that come together to be served together
RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: close() resets the connection


@pytest.fixture(params=["inline"])
def mode(request: pytest.FixtureRequest) -> str:
    mode: str = request.param
    return mode


@pytest.fixture(params=["auto", "http2", "h11"])
def http(request: pytest.FixtureRequest) -> str:
    wire: str = request.param
    return wire


def body_head(size: int) -> bytes:
    return get("/", f"Content-Length: {size}", method="POST")


def test_it_is_called_in_the_thread_of_the_loop_without_the_loop(start: Start) -> None:
    """What it calls may run a loop of its own, and may refuse to be called in a loop, as Django's ORM does."""
    seen: list[Any] = []

    async def other_loop() -> bytes:
        await asyncio.sleep(0)
        assert asyncio.current_task() is not None
        return b"ran"

    def app(environ: Environ, start_response: Any) -> Any:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        start_response("200 OK", [])
        seen.append((threading.get_ident(), environ["wsgi.multithread"]))
        ran = asyncio.run(other_loop())
        return pieces(ran) if environ["PATH_INFO"] == "/pieces" else [ran]

    def pieces(first: bytes) -> Iterator[bytes]:
        yield first
        yield asyncio.run(other_loop())

    server = start(app)
    client = Client(server.connect())
    assert client.ask(get()).body == b"ran"
    assert client.ask(get("/pieces")).body == b"ranran"
    assert client.ask(chunked([b"a", b"b"])).body == b"ran"
    loops: list[int] = []
    server.server.loop.call_soon_threadsafe(lambda: loops.append(threading.get_ident()))
    server.go_round()
    assert seen == [(loops[0], False)] * 3


def test_other_code_sees_the_loop_between_two_calls(start: Start) -> None:
    """Of several requests that are served at once, the ones that need a task, or log an error, have a running loop."""
    loops: list[Any] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            loops.append(asyncio.get_running_loop())

    def app(environ: Environ, start_response: Any) -> Any:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        if environ["PATH_INFO"] == "/wrong":
            raise ValueError("wrong")
        start_response("200 OK", [])
        return pieces() if environ["PATH_INFO"] == "/pieces" else [b"whole"]

    def pieces() -> Iterator[bytes]:
        yield b"pie"
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        yield b"ces"

    server = start(app)
    handler = Handler()
    logger = logging.getLogger("fastserve.error")
    logger.addHandler(handler)
    try:
        clients = {path: Client(server.connect()) for path in ("/a", "/pieces", "/b", "/wrong", "/c")}
        for _ in range(ROUNDS):
            blocked = threading.Event()
            server.server.loop.call_soon_threadsafe(blocked.wait)
            for path, client in clients.items():
                client.send(get(path))
            blocked.set()
            read = {path: client.read() for path, client in clients.items()}
            assert read["/wrong"].status == 500
            clients["/wrong"] = Client(server.connect())
            assert {path: answer.body for path, answer in read.items() if answer.status == 200} == {
                "/a": b"whole", "/pieces": b"pieces", "/b": b"whole", "/c": b"whole",
            }  # fmt: skip
    finally:
        logger.removeHandler(handler)
    assert loops == [server.server.loop] * ROUNDS


def entry_of_the_running_loop() -> Any:
    """What asyncio keeps for this thread: up to CPython 3.11 an object that has the loop, then the loop, or nothing."""
    thread_dict = ctypes.pythonapi.PyThreadState_GetDict
    thread_dict.restype = ctypes.c_void_p
    return ctypes.cast(thread_dict(), ctypes.py_object).value.get("__asyncio_running_event_loop__")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio sets it without a system call")
def test_calls_do_not_set_the_running_loop_anew(start: Start) -> None:
    """Up to CPython 3.11 that takes a system call each time."""
    entries: list[Any] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        entries.append(entry_of_the_running_loop())
        start_response("200 OK", [])
        return [b"whole"]

    client = Client(start(app).connect())
    assert {client.ask(get("/")).body for _ in range(ROUNDS)} == {b"whole"}
    assert entries == [entries[0]] * ROUNDS


def test_what_an_application_keeps_of_a_call_does_not_reach_another(start: Start) -> None:
    kept: list[Any] = []
    writes: list[Any] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/late":
            for late in kept:
                with pytest.raises(AssertionError, match="called again"):
                    late("500 Late", [])
            for write in writes:
                with pytest.raises(RuntimeError, match="longer than"):
                    write(b"late")
        write = start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
        if environ["PATH_INFO"] == "/keep":
            kept.append(start_response)
        if environ["PATH_INFO"] == "/keep-write":
            writes.append(write)
        return [environ["PATH_INFO"].encode()]

    client = Client(start(app).connect())
    for path in ("/a", "/keep", "/b", "/late", "/c", "/keep", "/late", "/d", "/keep-write", "/e", "/late"):
        answer = client.ask(get(path))
        assert (answer.status, answer.body, answer.get(b"x-path")) == (200, path.encode(), path.encode())


def test_a_body_that_comes_slowly_keeps_nobody_waiting(start: Start) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read() or b"none"]

    server = start(app)
    slow, other = Client(server.connect()), Client(server.connect())
    slow.send(body_head(6) + b"abc")
    assert other.ask(get()).body == b"none"
    slow.send(b"def")
    assert slow.read().body == b"abcdef"


@pytest.mark.parametrize(("size", "in_memory"), [(1000, True), (1001, False)])
def test_a_large_body_is_kept_in_a_file(
    start: Start, monkeypatch: pytest.MonkeyPatch, size: int, in_memory: bool
) -> None:
    monkeypatch.setattr(inline, "IN_MEMORY", 1000)
    seen: list[Any] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        if environ["REQUEST_METHOD"] == "POST":
            seen.append(environ["wsgi.input"])
        return [environ["wsgi.input"].read()]

    server = start(app)
    client, other = Client(server.connect()), Client(server.connect())
    client.send(body_head(size) + b"x" * (size - 1))
    assert other.ask(get()).status == 200  # the loop has read what was sent before
    client.send(b"y")
    assert client.read().body == b"x" * (size - 1) + b"y"
    server.stop()
    assert isinstance(seen[0], io.BytesIO) is in_memory
    assert seen[0].closed


def test_the_application_is_not_called_if_the_client_leaves_before_the_end(start: Start, log: Log) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        called.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"called"]

    called: list[str] = []
    server = start(app)
    client, other = Client(server.connect()), Client(server.connect())
    client.send(body_head(6) + b"abc")
    assert other.ask(get("/other")).body == b"called"
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    server.stop()
    assert called == ["/other"]
    assert log() == []


def test_100_before_the_application_is_called(start: Start, http: str) -> None:
    client = Client(start(echo).connect())
    client.send(get("/", "Content-Length: 3", "Expect: 100-continue", method="POST"))
    client.read_until(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.ask(b"abc").body == b"abc"


def test_an_unread_body_and_the_next_request(client: Connect) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("403 Forbidden", [])
        return [b"no"]

    connected = client(app)
    for _ in range(2):
        assert connected.ask(post(b"x" * 100_000)).body == b"no"


def test_an_endless_response_leaves_others_their_turn(start: Start) -> None:
    closed = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
        finally:
            closed.set()

    def app(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return endless() if environ["PATH_INFO"] == "/endless" else [b"other"]

    server = start(app)
    client, other = Client(server.connect()), Client(server.connect())
    client.send(get("/endless"))
    client.read_until(b"xxx")
    assert other.ask(get()).body == b"other"
    client.close()
    assert closed.wait(support.PATIENCE)


def test_what_write_is_given_is_kept_until_the_application_returns(
    client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inline, "IN_MEMORY", 200_000)

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", [])
        for number in range(100):
            write(b"%04d" % number * 1000)
        write(b"last")
        return iter([b"and", b"more"])

    connected = client(app)
    expected = b"".join(b"%04d" % number * 1000 for number in range(100)) + b"lastandmore"
    for _ in range(2):
        assert connected.ask(get()).body == expected


@pytest.mark.parametrize("http", ["auto", "h11"])
def test_write_takes_no_more_than_can_be_kept(start: Start, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "MOST_WRITTEN", 300_000)

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        while True:
            write(bytes(10_000))

    server = start(app)
    with server.connect() as sock:
        sock.sendall(get())
        received = support.read_all(sock)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not received.endswith(b"0\r\n\r\n")
    server.stop()
    (line,) = log()
    assert "RuntimeError: write() takes at most 300000 bytes with --wsgi-threads 0" in line


def test_the_loop_goes_on_while_a_client_does_not_read(start: Start) -> None:
    """The iterable is not asked on, and it is closed when the server breaks the response off."""
    asked = 0
    closed = threading.Event()

    def pieces() -> Iterator[bytes]:
        nonlocal asked
        try:
            while True:
                asked += 1
                yield bytes(65536)
        finally:
            closed.set()

    def app(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return pieces() if environ["PATH_INFO"] == "/pieces" else []

    server = start(app, timeout_graceful_shutdown=0)
    client, other = Client(server.connect()), Client(server.connect())
    client.send(get("/pieces"))
    still = before = 0
    while still < 10:
        other.ask(get())
        still = still + 1 if asked == before and asked else 0
        before = asked
    assert asked < 300
    server.stop()
    assert closed.is_set()


def echo(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["wsgi.input"].read()]
