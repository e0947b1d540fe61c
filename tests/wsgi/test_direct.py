"""Calls that the core serves without a task, and what takes one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from core.responses import Client
from fakes.worker import get, post

Start = Callable[..., support.Running]
Environ = dict[str, Any]

SECONDS = support.PATIENCE


class Application:
    """Keeps how many tasks its server has while it is called: {path: number}."""

    def __init__(self) -> None:
        self.server: Any = None
        self.tasks: dict[str, int] = {}

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/write":
            start_response("200 OK", [])(b"piece")
        elif path == "/pieces":
            start_response("200 OK", [])
            return self.pieces()
        self.tasks[path] = len(self.server.server_state.tasks)
        if path != "/write":
            start_response("200 OK", [("Content-Length", "4")])
        return [environ["wsgi.input"].read() or b"body"]

    def pieces(self) -> Any:
        yield b"piece"
        self.tasks["/pieces"] = len(self.server.server_state.tasks)


@pytest.fixture
def app(start: Start) -> Application:
    made = Application()
    running = start(made)
    made.server = running.server
    made.client = Client(running.connect())  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize("request_bytes", [get("/whole"), post(b"body", path="/whole"), get("/whole", method="HEAD")])
def test_a_response_that_is_complete_at_once_takes_no_task(app: Any, request_bytes: bytes) -> None:
    for _ in range(2):
        app.client.send(request_bytes)
        assert app.client.read(request_bytes.split()[0].decode()).status == 200
    assert app.tasks == {"/whole": 0}


def test_requests_of_one_read_are_answered_in_order(start: Start) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    client = Client(start(app).connect())
    client.send(b"".join(get(f"/{number}") for number in range(50)))
    assert [client.read().body for _ in range(50)] == [b"/%d" % number for number in range(50)]


def test_bodies_of_one_read(start: Start) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        file = environ["wsgi.input"]
        return [environ["PATH_INFO"].encode(), file.read(1), file.readline(), file.read(), file.read()]

    client = Client(start(app).connect())
    bodies = [b"", b"a", b"one\ntwo", bytes(5000), b"GET / HTTP/1.1"]
    client.send(b"".join(post(body, path=f"/{len(body)}") for body in bodies))
    assert [client.read().body for _ in bodies] == [b"/%d%b" % (len(body), body) for body in bodies]


@pytest.mark.parametrize("by_write", [True, False])
def test_no_thread_stays_with_a_large_piece_that_is_all(start: Start, by_write: bool) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        write = start_response("200 OK", [("Content-Length", "1000000")])
        if by_write:
            write(bytes(1_000_000))
        return iter([] if by_write else [bytes(1_000_000)])

    connected = Client(start(app, wsgi_threads=1).connect())
    assert [len(connected.ask(get()).body) for _ in range(20)] == [1_000_000] * 20


class Events:
    """os.eventfd, with the descriptors that it gave."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.make = os.eventfd

    def __call__(self, *arguments: int) -> int:
        self.made.append(self.make(*arguments))
        return self.made[-1]


def is_eventfd(descriptor: int) -> bool:
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name == "anon_inode:[eventfd]"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="this system has no eventfd")
class TestEventfd:
    def test_it_is_closed_with_the_server(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        events = Events()
        monkeypatch.setattr(os, "eventfd", events)
        running = start(hello)
        assert Client(running.connect()).ask(get()).body == b"hello"
        assert len(events.made) == 1
        assert is_eventfd(events.made[0])
        running.stop()
        assert not is_eventfd(events.made[0])

    def test_a_process_without_descriptors_does_without(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: int) -> int:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(os, "eventfd", refuse)
        client = Client(start(hello).connect())
        assert [client.ask(get()).body for _ in range(3)] == [b"hello"] * 3

    def test_a_call_that_ends_after_the_server(self, start: Start) -> None:
        """It was not waited for, and nobody is told of its end."""
        began, go, ended = threading.Event(), threading.Event(), threading.Event()

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            began.set()
            assert go.wait(SECONDS)
            start_response("200 OK", [])
            ended.set()
            return [b"late"]

        running = start(app, timeout_graceful_shutdown=0)
        with running.connect() as client:
            client.sendall(get())
            assert began.wait(SECONDS)
            running.stop()
        go.set()
        assert ended.wait(SECONDS)


def hello(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


class TestClientThatDoesNotRead:
    """The application is not called for requests whose responses would pile up."""

    REQUESTS = 1000
    BODY = bytes(1 << 16)

    @pytest.fixture
    def http(self) -> str:
        return "auto"

    def test_pipelined_requests(self, start: Start) -> None:
        calls = 0

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            nonlocal calls
            calls += 1
            start_response("200 OK", [])
            return [self.BODY]

        server = start(app)
        client = Client(server.connect())
        client.send(get() * self.REQUESTS)
        settle(server, lambda: calls)
        assert calls < self.REQUESTS // 2  # two kernel buffers of some megabytes
        for _ in range(self.REQUESTS):
            assert client.read().body == self.BODY


def settle(server: support.Running, progress: Callable[[], int]) -> None:
    """Return when the server does nothing any more."""
    before = -1
    while progress() != before:
        before = progress()
        for _ in range(20):
            server.go_round()
