"""What an application meets whose client has gone: silence by default, an OSError with `disconnect="raise"`."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
import support
from asgi.gates import Gate, catch_up
from core.responses import Client, read_one
from fakes.worker import get, post, respond
from protocols import WIRES, protocol_of
from ws import upgrade

Log = Callable[[], list[str]]
START = {"type": "http.response.start", "status": 200, "headers": []}
RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: close() resets the connection
SECONDS = support.PATIENCE


@pytest.fixture(params=WIRES)
def http(request: pytest.FixtureRequest) -> str:
    return protocol_of(request)


@pytest.fixture
def access(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that gives the access log so far, as 'GET / 200'."""
    caplog.set_level(logging.INFO, logger="fastserve.access")

    def lines() -> list[str]:
        found = [record.getMessage().split('"') for record in caplog.records if record.name == "fastserve.access"]
        return [f"{request.rpartition(' ')[0]}{status}" for _, request, status in found]

    return lines


def body(data: bytes = b"x", more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Leaver:
    """A client that asks one thing and leaves, by FIN or by a reset."""

    def __init__(self, running: support.Running, request: bytes) -> None:
        self.running = running
        self.client = Client(running.connect())
        self.client.send(request)

    def leave(self, how: str) -> None:
        """Leave, and return when the server knows; its application must answer /barrier."""
        if how == "reset":
            self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.client.close()
        catch_up(self.running)


class Meeting:
    """An application that waits inside for a test, and then does what the test gave it to do."""

    def __init__(self, work: Callable[[Any, Any], Any], first: tuple[dict[str, Any], ...] = ()) -> None:
        self.work, self.first = work, first
        self.gate = Gate()
        self.inside, self.done = threading.Event(), threading.Event()
        self.error: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/barrier":
            return await respond(send)
        for message in self.first:
            await send(message)
        self.inside.set()
        await self.gate.wait()
        try:
            await self.work(receive, send)
        except Exception as error:
            self.error = type(error).__name__
            raise
        finally:
            self.done.set()

    def leave(self, running: support.Running, how: str, request: bytes | None = None) -> None:
        """Let a client ask and leave, and the application do its work."""
        leaver = Leaver(running, get() if request is None else request)
        assert self.inside.wait(SECONDS)
        if self.first:
            leaver.client.read_until(b"x")
        leaver.leave(how)
        self.gate.open()
        assert self.done.wait(SECONDS)


leaving = pytest.mark.parametrize("how", ["close", "reset"])


@leaving
@pytest.mark.parametrize("first", [(), (START, body())])
def test_nothing_is_checked_any_more(serve: support.Serve, log: Log, how: str, first: Any) -> None:
    """Frameworks answer a session that has ended, whatever they have sent of its response before."""

    async def work(receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        last = body(b"", False)
        for message in (body(), START, START, body(), last, START, last, {"type": "unheard of"}):
            await send(message)

    meeting = Meeting(work, first)
    running = serve(meeting)
    meeting.leave(running, how)
    running.stop()
    assert (meeting.error, log()) == ("", [])


def test_a_message_out_of_order_ends_the_response_to_a_half_closed_client(serve: support.Serve, log: Log) -> None:
    """It may still read, and must not take what follows for the rest of its response."""

    async def work(receive: Any, send: Any) -> None:
        for message in (START, body(b"another response", False)):
            await send(message)

    meeting = Meeting(work, (START, body()))
    running = serve(meeting)
    client = Client(running.connect())
    client.send(get())
    client.read_until(b"x\r\n")
    client.sock.shutdown(socket.SHUT_WR)
    catch_up(running)
    meeting.gate.open()
    rest = client.rest()
    assert b"another" not in rest
    assert not rest.endswith(b"0\r\n\r\n")
    assert log() == []


@leaving
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_flood_leaves_the_loop_to_others(serve: support.Serve, how: str, loop: str) -> None:
    begun, over, ended = threading.Event(), threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/barrier":
            return await respond(send)
        await send(START)
        begun.set()
        while not over.is_set():
            await send(body(bytes(1000)))
        ended.set()

    running = serve(app, loop=loop)
    leaver = Leaver(running, get())
    assert begun.wait(SECONDS)
    leaver.client.read_until(b"\r\n\r\n")
    leaver.leave(how)
    for _ in range(3):
        assert Client(running.connect()).ask(get("/barrier")).status == 200
    over.set()
    assert ended.wait(SECONDS)


@leaving
def test_the_disconnect_comes_before_an_empty_body(serve: support.Serve, how: str) -> None:
    seen: list[Any] = []

    async def work(receive: Any, send: Any) -> None:
        seen.extend([await receive() for _ in range(2)])

    meeting = Meeting(work)
    running = serve(meeting)
    meeting.leave(running, how)
    assert seen == [{"type": "http.disconnect"}] * 2


@leaving
def test_a_body_comes_before_the_disconnect(serve: support.Serve, how: str) -> None:
    seen: list[Any] = []

    async def work(receive: Any, send: Any) -> None:
        seen.extend([await receive() for _ in range(2)])

    meeting = Meeting(work)
    running = serve(meeting)
    meeting.leave(running, how, post(b"all of it"))
    assert seen == [{"type": "http.request", "body": b"all of it", "more_body": False}, {"type": "http.disconnect"}]


def test_an_application_that_returns_for_the_error_of_send(serve: support.Serve, log: Log) -> None:
    """The error comes before the loop has told that the connection is gone."""
    sent, left, caught = threading.Event(), threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body())
        sent.set()
        if scope["path"] == "/suspends":
            await Gate.passed()
        assert left.wait(SECONDS)
        try:
            while True:
                await send(body(bytes(65536)))
        except OSError:
            caught.set()

    running = serve(app, disconnect="raise")
    client = Client(running.connect())
    client.send(get("/suspends"))
    client.read_until(b"x\r\n")
    assert sent.wait(SECONDS)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    left.set()
    assert caught.wait(SECONDS)
    running.stop()
    assert log() == []


def test_an_error_that_a_framework_raises_from_send_s_is_quiet(serve: support.Serve, log: Log) -> None:
    async def work(receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        try:
            await send(START)
        except OSError as error:
            raise LookupError("the application failed") from error

    meeting = Meeting(work)
    running = serve(meeting, disconnect="raise")
    meeting.leave(running, "reset")
    running.stop()
    assert (meeting.error, log()) == ("LookupError", [])


class ClientDisconnect(Exception):
    """Named as Starlette's."""


class TestAccessLog:
    """A response that failed because its client has left is not counted as a failure of the application."""

    @staticmethod
    async def returns(receive: Any, send: Any) -> None:
        return

    @staticmethod
    async def fails(receive: Any, send: Any) -> None:
        raise ClientDisconnect

    @staticmethod
    async def answers(receive: Any, send: Any) -> None:
        """As frameworks do it, for their own error."""
        await send({**START, "status": 500})
        await send(body(b"Internal Server Error", False))
        raise ClientDisconnect

    @leaving
    @pytest.mark.parametrize("work", ["returns", "fails", "answers"])
    @pytest.mark.parametrize("request_bytes", [get(), post(b"all")[:-1]])
    def test_no_500(
        self, serve: support.Serve, log: Log, access: Log, how: str, work: str, request_bytes: bytes
    ) -> None:
        meeting = Meeting(getattr(self, work))
        running = serve(meeting, access_log=True)
        meeting.leave(running, how, request_bytes)
        running.stop()
        assert access() == ["GET /barrier 200"]
        assert not any(line.startswith("ERROR") for line in log())

    @leaving
    @pytest.mark.parametrize("work", ["returns", "fails"])
    def test_no_500_for_a_handshake(
        self, serve: support.Serve, caplog: pytest.LogCaptureFixture, how: str, work: str
    ) -> None:
        caplog.set_level(logging.INFO, logger="fastserve")
        meeting = Meeting(getattr(self, work))
        running = serve(meeting, access_log=True)
        meeting.leave(running, how, upgrade())
        running.stop()
        lines = [record.getMessage() for record in caplog.records]
        assert any("Shutting down" in line for line in lines)
        assert not any("WebSocket" in line or "Exception" in line for line in lines)

    def test_a_half_closed_client_is_answered_and_noted(self, serve: support.Serve, access: Log) -> None:
        async def work(receive: Any, send: Any) -> None:
            await respond(send, b"x")

        meeting = Meeting(work)
        running = serve(meeting, access_log=True)
        client = Client(running.connect())
        client.send(get())
        assert meeting.inside.wait(SECONDS)
        client.sock.shutdown(socket.SHUT_WR)
        catch_up(running)
        meeting.gate.open()
        assert read_one(client.rest()).body == b"x"
        running.stop()
        assert access() == ["GET /barrier 200", "GET / 200"]
