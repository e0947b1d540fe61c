"""What applications of many frameworks make of clients that leave and of their own failures, with uvicorn as control.

A row is one address of leaving_app. All that a row expects holds on uvicorn as well, unless it says which servers.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes import http2
from starlette.responses import StreamingResponse
from support import Command, read_all, read_until

from .conftest import LogMark

TESTS = Path(__file__).parents[1]
RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: close() resets the connection
NAMES = itertools.count()
UPLOAD = "Host: test\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
COMMANDS = {
    "uvicorn": ("uvicorn", "--lifespan", "off"),
    "fastserve": ("fastserve", "--lifespan", "off"),
    "h11": ("fastserve", "--lifespan", "off", "--http", "h11"),
    "raise": ("fastserve", "--lifespan", "off", "--disconnect", "raise"),
}
SILENT = ("uvicorn", "fastserve", "h11")


def started(name: str, *options: str) -> Command:
    module, *own = COMMANDS[name]
    arguments = ("compat.apps.leaving_app:app", "--app-dir", str(TESTS), "--port", "0", *own, *options)
    command = Command([sys.executable, "-m", module, *arguments])
    command.wait_line("running on http://", timeout=40)
    return command


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Command]]:
    """Servers of this module by name, started when they are first asked for."""
    running: dict[str, Command] = {}
    yield running
    for each in running.values():
        each.send_signal(signal.SIGKILL)  # they may have streams left, and how a server stops is asked elsewhere
        each.close()


@pytest.fixture
def server(request: pytest.FixtureRequest, servers: dict[str, Command]) -> Command:
    if request.param not in servers:
        servers[request.param] = started(request.param)
    return servers[request.param]


def raises(server: Command) -> bool:
    return "raise" in server.process.args  # type: ignore[operator]


def on(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("server", names, indirect=True)


class Visit:
    """One request to an address, by a client that reads as far as it is told and leaves."""

    def __init__(self, server: Command, path: str, kind: str = "quiet", method: str = "GET", extra: str = "") -> None:
        self.server, self.path, self.name = server, path, f"n{next(NAMES)}"
        self.sock = server.connect(timeout=60)
        self.sock.sendall(
            f"{method} {path}?name={self.name}&kind={kind} HTTP/1.1\r\nHost: test\r\n{extra}\r\n".encode()
        )

    def read_until(self, mark: bytes) -> bytes:
        return read_until(self.sock, mark)

    def leave(self, how: str) -> None:
        if how == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()

    def wait(self, event: str) -> None:
        """Return when the application has told of this event. Fails after some seconds.

        Where send() raises, a generator that it was called for may be closed when it is collected, and not before. So
        may one below BaseHTTPMiddleware, which has it wait after each piece: 4 of 800 were on uvicorn.
        """
        verb = "collect" if raises(self.server) or self.path.startswith("/base/") else "wait"
        assert (
            httpx.get(f"{self.server.url}/{verb}/{event}:{self.name}", timeout=60, trust_env=False).status_code == 200
        )

    def wait_until_over(self, event: str) -> None:
        """Return when the application has told of this event, its last but for a dependency that FastAPI gives back."""
        self.wait(event)
        if self.path in ("/fastapi/stream", "/fastapi/background"):
            self.wait("given back")

    def begin(self, kind: str) -> None:
        """Return once the application has begun: before its response, or with the first piece of that."""
        if kind in ("before", "late"):
            self.wait("entered")
        else:
            self.read_until(b"first")

    def fire(self, event: str) -> None:
        assert httpx.get(f"{self.server.url}/fire/{event}:{self.name}", timeout=60, trust_env=False).status_code == 200


class Http2Visit(Visit):
    """The same over HTTP/2, with the bytes of its frames as they are; it can leave the stream alone."""

    def __init__(self, server: Command, path: str, kind: str = "quiet") -> None:
        self.server, self.path, self.name = server, path, f"n{next(NAMES)}"
        self.sock = server.connect(timeout=60)
        target = (":path", f"{path}?name={self.name}&kind={kind}")
        fields = [target if name == ":path" else (name, value) for name, value in http2.GET]
        self.sock.sendall(http2.PREFACE + http2.settings() + http2.headers(1, fields))

    def leave(self, how: str) -> None:
        if how == "stream":
            self.sock.sendall(http2.rst_stream(1))
        else:
            super().leave(how)


leaving = pytest.mark.parametrize("how", ["close", "reset"])
leaving_http2 = pytest.mark.parametrize("how", ["stream", "reset"])

STREAMS = [
    "/starlette/stream",
    "/starlette/events",
    "/base/stream",
    "/fastapi/stream",
    "/django/stream",
    "/quart/stream",
    "/litestar/stream",
    "/litestar/events",
    "/plain/stream",
]
# From ASGI 2.4 on Starlette does not call receive() for a stream: it learns from its next send() alone that its client
# has left. See test_a_quiet_stream_of_starlette_ends_with_its_next_event.
ONLY_SENDS = ("/starlette/stream", "/base/stream", "/fastapi/stream")
# BaseHTTPMiddleware has a generator wait after each piece until that is sent, so not in the generator.
ONCE_MORE = [each for each in itertools.product(("item", "burst"), STREAMS) if each != ("burst", "/base/stream")]


def rows() -> Iterator[tuple[str, str, str]]:
    for name, path, kind in itertools.product(COMMANDS, STREAMS, ("before", "quiet", "busy")):
        if name != "raise" or kind == "busy" or path not in ONLY_SENDS:
            yield name, path, kind


class TestStreams:
    @leaving
    @pytest.mark.parametrize(("server", "path", "kind"), list(rows()), indirect=["server"])
    def test_a_stream_ends_with_its_client(self, server: Command, log: LogMark, path: str, kind: str, how: str) -> None:
        visit = Visit(server, path, kind)
        visit.begin(kind)
        visit.leave(how)
        visit.wait_until_over("closed")
        assert log.count("Traceback|ERROR") == 0, log.new()

    @leaving
    @on(*SILENT)
    @pytest.mark.parametrize(("kind", "path"), ONCE_MORE)
    def test_a_stream_that_sends_once_more_is_closed_where_it_waits(
        self, server: Command, log: LogMark, kind: str, path: str, how: str
    ) -> None:
        """Its finally blocks run at once, and in its own task."""
        visit = Visit(server, path, kind)
        visit.read_until(b"first")
        visit.leave(how)
        visit.wait_until_over("closed at once")
        assert log.count("Traceback|ERROR") == 0, log.new()

    @leaving_http2
    @on("fastserve")
    @pytest.mark.parametrize("path", STREAMS)
    @pytest.mark.parametrize("kind", ["before", "quiet", "busy"])
    def test_a_stream_over_http2_ends_with_its_client(
        self, server: Command, log: LogMark, path: str, kind: str, how: str
    ) -> None:
        visit = Http2Visit(server, path, kind)
        with visit.sock:
            visit.begin(kind)
            visit.leave(how)
            visit.wait_until_over("closed")
        assert log.count('Traceback|ERROR|" 500') == 0, log.new()

    @leaving
    @on("raise")
    @pytest.mark.parametrize("path", ONLY_SENDS)
    @pytest.mark.parametrize("kind", ["late", "told"])
    def test_a_quiet_stream_of_starlette_ends_with_its_next_event(
        self, server: Command, log: LogMark, path: str, kind: str, how: str
    ) -> None:
        """Where send() raises, Starlette leaves all else to it: a generator that waits is not cancelled."""
        visit = Visit(server, path, kind)
        visit.begin(kind)
        visit.leave(how)
        visit.fire("go")
        visit.wait_until_over("closed")
        assert log.count("Traceback|ERROR") == 0, log.new()

    @pytest.mark.parametrize(("spec_version", "listens"), [("2.3", True), ("2.5", False)])
    def test_what_starlette_makes_of_the_version(self, spec_version: str, listens: bool) -> None:
        """Why the rows of quiet streams differ: only up to ASGI 2.3 it waits for the client to leave."""

        async def quiet() -> AsyncIterator[bytes]:
            await asyncio.sleep(0)
            yield b"first"
            await asyncio.sleep(0)

        async def run() -> list[str]:
            calls = []

            async def receive() -> dict[str, str]:
                calls.append("receive")
                await asyncio.Event().wait()
                raise AssertionError

            async def send(message: Any) -> None:
                calls.append(message["type"])

            scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": spec_version}}
            await StreamingResponse(quiet())(scope, receive, send)
            return calls

        assert ("receive" in asyncio.run(run())) is listens

    @leaving
    @on(*COMMANDS)
    @pytest.mark.parametrize("path", ["/a2wsgi/", "/asgiref/"])
    def test_wsgi_applications_survive_clients_that_leave(
        self, server: Command, log: LogMark, path: str, how: str
    ) -> None:
        """There are more of them than threads."""
        lost = path == "/a2wsgi/" and raises(server)  # an error of send() costs it the thread
        for _ in range(1 if lost else 6):
            visit = Visit(server, path)
            visit.read_until(b"first")
            visit.leave(how)
        path = "/asgiref/" if lost else path
        response = httpx.get(f"{server.url}{path}", timeout=60, trust_env=False)
        assert response.content == b"first" * 20000
        assert log.count("Traceback|ERROR") == 0, log.new()

    @leaving
    @on(*SILENT)
    def test_a_second_answer_to_a_session_that_has_ended(self, server: Command, log: LogMark, how: str) -> None:
        visit = Visit(server, "/plain/twice")
        visit.read_until(b"first")
        visit.leave(how)
        visit.wait("closed")
        assert log.count("Traceback|ERROR") == 0, log.new()


class TestWork:
    """What an application does after its response is done, whether its client is there or not."""

    @leaving_http2
    @on("fastserve")
    @pytest.mark.parametrize("path", ["/starlette/slow", "/base/slow"])
    def test_behind_a_response_over_http2(self, server: Command, log: LogMark, path: str, how: str) -> None:
        visit = Http2Visit(server, path)
        with visit.sock:
            visit.wait("entered")
            visit.leave(how)
            visit.fire("answer")
            visit.fire("go")
            visit.wait("committed")
        assert log.count('Traceback|ERROR|handler called|" 500') == 0

    @leaving
    @on(*COMMANDS)
    @pytest.mark.parametrize("path", ["/starlette/background", "/base/background", "/fastapi/background"])
    def test_behind_a_response_that_was_sent(self, server: Command, log: LogMark, path: str, how: str) -> None:
        visit = Visit(server, path)
        visit.read_until(b"answer")
        visit.leave(how)
        visit.fire("go")
        visit.wait_until_over("committed")
        assert log.count("Traceback|ERROR") == 0, log.new()

    @leaving
    @on(*SILENT)
    @pytest.mark.parametrize("path", ["/starlette/slow", "/base/slow"])
    def test_behind_a_response_that_nobody_waited_for(self, server: Command, log: LogMark, path: str, how: str) -> None:
        """The client has left before the response: no middleware and no handler hears of an error."""
        visit = Visit(server, path)
        visit.wait("entered")
        visit.leave(how)
        visit.fire("answer")
        visit.fire("go")
        visit.wait("committed")
        assert log.count('Traceback|ERROR|handler called|" 500') == 0

    @leaving
    @on("uvicorn", "fastserve", "h11", "raise")
    def test_a_body_that_the_client_does_not_finish(self, server: Command, log: LogMark, how: str) -> None:
        """It is an error of the framework's, and no 500 of the application's."""
        visit = Visit(server, "/starlette/body", method="POST", extra="Content-Length: 10\r\n")
        visit.sock.sendall(b"half")
        visit.wait("entered")
        visit.leave(how)
        log.wait("handler called for ClientDisconnect")
        assert log.count(r'" 500') == 0


FAILURES = [
    # address, status of the response or 0 for one that is broken off, the error, whether Starlette's handler is called
    ("/plain/before", 500, "before the response", False),
    ("/plain/between", 500, "behind the head", False),  # uvicorn has sent the head
    ("/plain/within", 0, "within the body", False),
    ("/plain/behind", 200, "behind the response", False),
    ("/starlette/in-handler", 500, "in the handler", True),
    ("/starlette/in-background", 200, "in the background", True),
    ("/starlette/in-stream", 0, "in the stream", True),
    ("/starlette/cancelled", 500, "CancelledError", False),
    ("/base/in-handler", 500, "in the handler", True),
    ("/base/in-background", 200, "in the background", True),
    ("/base/in-stream", 200, "in the stream", True),  # BaseHTTPMiddleware ends the response properly
    ("/failing/background", 500, "in the middleware", True),
    ("/fastapi/in-handler", 500, "in the handler", False),
    ("/fastapi/in-dependency", 500, "in the dependency", False),
    ("/fastapi/behind-response", 200, "behind the response", False),
    ("/fastapi/in-background", 200, "in the background", False),
]


@on(*COMMANDS)
@pytest.mark.parametrize(("path", "status", "error", "handled"), FAILURES)
def test_failures(server: Command, log: LogMark, path: str, status: int, error: str, handled: bool) -> None:
    """Each is logged once with its traceback, the client sees where it happened, and the server goes on."""
    visit = Visit(server, path, extra="Connection: close\r\n")
    with visit.sock:
        raw = read_all(visit.sock)
    if status and (path, "uvicorn" in str(server.process.args)) != ("/plain/between", True):
        assert int(raw.split()[1]) == status
    else:
        assert raw.startswith(b"HTTP/1.1 200 OK")
        assert not raw.endswith(b"0\r\n\r\n")
    log.wait(rf"(ZeroDivisionError: {error}|{error})$")
    visit.fire("done")
    assert log.count("Exception in ASGI application") == 1
    assert log.count("handler called") == handled


class TestStop:
    @pytest.mark.parametrize("name", SILENT)
    @pytest.mark.parametrize("by", ["signal", "limit"])
    def test_work_for_a_client_that_left_is_done(self, name: str, by: str) -> None:
        """At SIGTERM, and when a server has taken as many requests as it may; uvicorn counts those that are done."""
        limit = "2" if name == "uvicorn" else "3"
        server = started(name, *(("--limit-max-requests", limit) if by == "limit" else ()))
        try:
            visit = Visit(server, "/starlette/background")
            visit.read_until(b"answer")
            visit.leave("reset")
            with server.connect() as last:  # a request that is not complete before the stop
                last.sendall(f"POST /fire/go:{visit.name} HTTP/1.1\r\n{UPLOAD}".encode())
                assert read_until(last) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it has begun
                visit.wait("working")
                if by == "signal":
                    server.send_signal(signal.SIGTERM)
                server.wait_line("Waiting for connections to close")
                last.sendall(b"x")
                assert read_until(last).startswith(b"HTTP/1.1 200 OK")
            server.wait()
            assert f"committed {visit.name}" in server.stdout
        finally:
            server.close()

    @pytest.mark.parametrize("name", ["fastserve", "h11"])
    @pytest.mark.parametrize("path", ["/plain/ignores", "/plain/floods"])
    def test_a_stream_does_not_hold_it(self, name: str, path: str) -> None:
        """Whether it is quiet or sends without end. uvicorn waits for it for ever."""
        server = started(name)
        try:
            visit = Visit(server, path)
            visit.read_until(b"first")
            visit.leave("reset")
            visit.fire("barrier")
            server.send_signal(signal.SIGTERM)
            assert server.wait() == -signal.SIGTERM
            assert "ERROR:    Cancelling 1 task(s) whose streaming responses have no end" in server.lines
        finally:
            server.close()
