"""Stopping a server without a timeout: what ends by itself is waited for, what does not is ended."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
import support
from asgi.gates import Gate, catch_up
from core.responses import Client, read_one
from fakes.worker import get, respond
from protocols import WIRES, protocol_of

Log = Callable[[], list[str]]
START = {"type": "http.response.start", "status": 200}
RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: close() resets the connection


@pytest.fixture(params=WIRES)
def http(request: pytest.FixtureRequest) -> str:
    return protocol_of(request)


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastserve.serving.drain.STREAM_SECONDS", 0.05)


def piece(data: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Streams:
    """Applications whose responses have no end, and what happened to them."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def watches(self, scope: Any, receive: Any, send: Any) -> None:
        """Wait for the client to go, as applications with server-sent events do."""
        await send(START)
        await send(piece(b"event"))
        await receive()
        for _ in range(3):
            self.seen.append((await receive())["type"])

    async def sends(self, scope: Any, receive: Any, send: Any) -> None:
        """Send and send, as a response made from a generator."""
        await send(START)
        try:
            while True:
                await send(piece(b"event"))
                await asyncio.sleep(0.001)
        except OSError as error:
            self.seen.append(type(error).__name__)
            raise

    async def floods(self, scope: Any, receive: Any, send: Any) -> None:
        """Send more than anybody takes."""
        await send(START)
        try:
            while True:
                await send(piece(bytes(65536)))
        except OSError as error:
            self.seen.append(type(error).__name__)
            raise

    async def ignores(self, scope: Any, receive: Any, send: Any) -> None:
        """Notice nothing."""
        await send(START)
        await send(piece(b"event"))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            self.seen.append(str(error))
            raise


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("watches", ["http.disconnect"] * 3),
        ("sends", ["ClientDisconnected"]),
        ("ignores", ["Task cancelled, the server stops"]),
    ],
)
def test_streams_are_ended(serve: support.Serve, log: Log, kind: str, seen: list[str]) -> None:
    streams = Streams()
    running = serve(getattr(streams, kind), disconnect="raise")
    client = Client(running.connect(timeout=60))
    client.send(get())
    client.read_until(b"event")
    running.server.should_exit = True
    assert not client.rest().endswith(b"0\r\n\r\n")  # what was broken off does not look complete
    running.join()
    assert streams.seen == seen
    lines = log()
    if kind != "ignores":
        assert lines == []
    else:
        assert lines[0] == "ERROR Cancelling 1 task(s) whose streaming responses have no end"
        assert "await asyncio.Event().wait()" in lines[1]


def test_a_stream_is_ended_whose_client_does_not_read(serve: support.Serve, log: Log, http: str) -> None:
    streams = Streams()
    running = serve(streams.floods, http=http, disconnect="raise")
    client = Client(running.connect())
    client.send(get())
    client.read_until(b"\0" * 1000)
    running.server.should_exit = True
    running.join()
    assert (streams.seen, log()) == (["ClientDisconnected"], [])


@pytest.mark.parametrize("fields", [[], [(b"content-length", b"6")]])
def test_what_has_an_end_is_waited_for(serve: support.Serve, fields: Any) -> None:
    """A response that has not begun, and one that says how long it is, are not streams."""
    gate, inside, streams = Gate(), threading.Event(), Streams()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/stream":
            return await streams.watches(scope, receive, send)
        if fields:
            await send({**START, "headers": fields})
            await send(piece(b"one"))
        inside.set()
        await gate.wait()
        if not fields:
            await send(START)
            await send(piece(b"one"))
        await send(piece(b"two", False))

    running = serve(app)
    client, stream = Client(running.connect()), Client(running.connect())
    client.send(get())
    assert inside.wait(60)
    stream.send(get("/stream"))
    stream.read_until(b"event")
    running.server.should_exit = True
    stream.rest()
    gate.open()
    assert client.read().body == b"onetwo"
    assert client.at_end()


@pytest.mark.parametrize("answers", [True, False])
def test_long_polls_see_a_disconnect(serve: support.Serve, log: Log, answers: bool) -> None:
    """One that waits for its client to go is told so. It can still respond; if it does not, the response is 503."""
    inside = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        inside.set()
        assert (await receive())["type"] == "http.disconnect"
        if answers:
            await respond(send, b"nothing new")

    running = serve(app)
    client = Client(running.connect())
    client.send(get())
    assert inside.wait(60)
    running.server.should_exit = True
    response = read_one(client.rest())
    if answers:
        assert (response.status, response.body) == (200, b"nothing new")
    else:
        assert (response.status, response.get(b"retry-after")) == (503, b"1")
    assert response.get(b"connection") == b"close"
    assert log() == []


def test_background_work_is_waited_for(serve: support.Serve) -> None:
    gate, streams, done = Gate(), Streams(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/stream":
            return await streams.watches(scope, receive, send)
        await respond(send)
        await gate.wait()
        done.append("background")

    running = serve(app)
    client, stream = Client(running.connect()), Client(running.connect())
    client.ask(get())
    stream.send(get("/stream"))
    stream.read_until(b"event")
    running.server.should_exit = True
    stream.rest()
    gate.open()
    running.join()
    assert done == ["background"]


def test_a_timeout_is_the_grace_of_streams(serve: support.Serve, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    """Given a timeout, streams go on until then, and are told before they are cancelled."""
    monkeypatch.setattr("fastserve.serving.drain.STREAM_SECONDS", 0)
    finished, gate = threading.Event(), Gate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(piece(b"first"))
        await gate.wait()
        await send(piece(b"last", False))
        finished.set()

    running = serve(app, timeout_graceful_shutdown=20)
    client, idle = Client(running.connect()), Client(running.connect())
    client.send(get())
    client.read_until(b"first")
    running.server.should_exit = True
    assert idle.at_end()  # the server stops
    gate.open()
    assert client.rest().endswith(b"4\r\nlast\r\n0\r\n\r\n")
    assert finished.wait(support.PATIENCE)

    streams = Streams()
    running = serve(streams.watches, timeout_graceful_shutdown=0.05)
    client = Client(running.connect())
    client.send(get())
    client.read_until(b"event")
    running.server.should_exit = True
    client.rest()
    running.join()
    assert streams.seen == ["http.disconnect"] * 3
    assert log() == []


class TestClientsThatLeft:
    """Applications that go on for a client that is not there any more."""

    @pytest.fixture(autouse=True)
    def other_protocol(self, http: str) -> None:
        self.http = http

    def leave(self, running: support.Running, inside: threading.Event, seen: bytes = b"") -> None:
        """Ask, and leave by a reset; returns when the server knows."""
        client = Client(running.connect())
        client.send(get())
        assert inside.wait(60)
        if seen:
            client.read_until(seen)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        catch_up(running)

    @pytest.mark.parametrize("timeout", [None, 20])
    @pytest.mark.parametrize("begun", [True, False])
    def test_streams_are_cancelled(self, serve: support.Serve, log: Log, begun: bool, timeout: int | None) -> None:
        """Whether they had begun by then or not, without waiting for a timeout: nobody reads them."""
        inside, gate, streams = threading.Event(), Gate(), Streams()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/barrier":
                return await respond(send)
            inside.set()
            if not begun:
                await gate.wait()
            await streams.ignores(scope, receive, send)

        running = serve(app, http=self.http, timeout_graceful_shutdown=timeout)
        self.leave(running, inside, b"event" if begun else b"")
        if not begun:
            gate.open()
        running.server.should_exit = True
        running.join()
        assert streams.seen == ["Task cancelled, the server stops"]
        assert log()[0] == "ERROR Cancelling 1 task(s) whose streaming responses have no end"

    @pytest.mark.parametrize("kind", ["complete", "completes later", "with a length", "not begun"])
    def test_work_is_waited_for(self, serve: support.Serve, log: Log, kind: str) -> None:
        inside, gate, left, streams = threading.Event(), Gate(), Gate(), Streams()
        done: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/stream":
                return await streams.watches(scope, receive, send)
            if scope["path"] == "/barrier":
                return await respond(send)
            if kind == "complete":
                await respond(send)
            elif kind != "not begun":
                await send({**START, "headers": [(b"content-length", b"9")] if kind == "with a length" else []})
                await send(piece(b"begun"))
            inside.set()
            await left.wait()
            if kind == "completes later":
                await send(piece(b"", False))
            await gate.wait()
            done.append("commit")

        running = serve(app, http=self.http)
        self.leave(running, inside, {"complete": b"ok", "not begun": b""}.get(kind, b"begun"))
        left.open()
        stream = Client(running.connect())
        stream.send(get("/stream"))
        stream.read_until(b"event")
        running.server.should_exit = True
        stream.rest()  # the time of streams is over
        gate.open()
        running.join()
        assert (done, log()) == (["commit"], [])
