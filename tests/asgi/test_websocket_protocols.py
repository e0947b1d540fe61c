"""--ws with a class on uvicorn's contract, which gets the connection; WebSockets behind other classes for HTTP."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import support
from core.frames import TEXT, binary, text
from fakes.worker import FakeTransport, FakeWorker
from protocol.wire import Wire
from protocols import PROTOCOLS
from websockets.sync.client import connect
from ws import Socket, close, closing, echo, framing_class, upgrade

from fastserve import Config
from fastserve.importer import import_from_string
from fastserve.protocols.websockets.connection import WebSocketConnection

IMPLEMENTATIONS = "uvicorn.protocols.websockets."
CLASSES = ["websockets_sansio_impl:WebSocketsSansIOProtocol", "wsproto_impl:WSProtocol"]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = 10_000_000  # bytes: more than the buffers of both sockets hold


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return str(request.param)


@pytest.fixture(params=PROTOCOLS)
def serve(request: pytest.FixtureRequest, serve: support.Serve) -> support.Serve:
    """Run a test with each implementation of HTTP in front of the class."""
    return lambda app, **config: serve(app, **{"http": request.param, **config})


def opened(server: support.Running, *fields: str) -> Socket:
    """A WebSocket of one of uvicorn's classes, whose response has names in capitals."""
    client = Socket(server.connect(timeout=60))
    client.send(upgrade("/", *fields))
    assert client.file.readline().startswith(b"HTTP/1.1 101 ")
    while client.file.readline() != b"\r\n":
        pass
    return client


async def both(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        return await echo(scope, receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Tape(asyncio.Protocol):
    """Keeps what it is told, and answers nothing by itself."""

    made: list[Tape] = []  # noqa: RUF012
    connected = threading.Event()

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        self.arguments = (config, server_state, app_state, _loop)
        self.state = server_state
        self.calls: list[str] = []
        self.data = b""
        self.made.append(self)

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")
        self.connected.set()
        self.transport = transport
        self.state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if data.endswith(b"?"):
            self.transport.write(b"answer")

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append("lost")
        self.state.connections.discard(self)

    def shutdown(self) -> None:
        self.calls.append("shutdown")
        self.transport.write(b"bye")
        self.transport.close()


def small(head: bytes) -> bytes:
    """A head with field names in lower case."""
    return re.sub(rb"\n[^:]+:", lambda match: match[0].lower(), head)


@pytest.fixture
def tape() -> Callable[[], Tape]:
    Tape.made.clear()
    Tape.connected.clear()

    def only() -> Tape:
        (made,) = Tape.made
        return made

    return only


@pytest.mark.parametrize("name", CLASSES)
def test_uvicorns_own(serve: support.Serve, loop: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(both, ws=IMPLEMENTATIONS + name, loop=loop)
    state = server.server.server_state
    with connect(f"ws://127.0.0.1:{server.port}/", proxy=None, max_size=None) as client:
        for size in (0, 70_000, 3_000_000):
            client.send(bytes(size))
            assert client.recv(10) == bytes(size)
        assert [type(each).__name__ for each in state.connections] == [name.partition(":")[2]]
        assert getattr(server.server.config.ws_protocol_class, "__name__", "") == name.partition(":")[2]
    assert server.fetch()[2] == b"ok"
    with opened(server) as wire:
        server.server.should_exit = True
        assert wire.frames() == [closing(1012)]
    server.join()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_what_the_class_gets(serve: support.Serve, loop: str, tape: Callable[[], Tape]) -> None:
    """The request as it came but for the case of names, what follows it, and the server's configuration and state."""
    server = serve(both, ws=Tape, loop=loop, headers=[("X-Own", "1")])
    handshake = upgrade("/a?B=%20", "X-Odd: Two")
    with Wire(server.connect()) as wire:
        wire.send(b"\r\n" + handshake[:30])
        wire.send(handshake[30:] + b"and more?")
        assert wire.file.read(6) == b"answer"
        assert tape().data == small(handshake) + b"and more?"
        wire.send(b"?")
        assert wire.file.read(6) == b"answer"
        config, state, app_state, _ = tape().arguments
        assert (config, state, app_state) == (server.server.config, server.server.server_state, {})
        assert state.connections == {tape()}
        assert (b"x-own", b"1") in state.default_headers
    server.stop()
    assert (tape().calls[0], tape().calls[-1]) == ("made", "lost")
    assert state.connections == set()


def test_behind_other_requests(serve: support.Serve, loop: str, tape: Callable[[], Tape]) -> None:
    """Their responses leave before it; what was read on is handed over, and reading goes on."""
    server = serve(both, ws=Tape, loop=loop)
    ahead = bytes(100_000)  # reading stops before all of it has come
    with Wire(server.connect()) as wire:
        wire.send(GET + GET + upgrade() + ahead + b"?")
        assert wire.response().body == b"ok"
        assert wire.response().body == b"ok"
        assert wire.file.read(6) == b"answer"
    server.stop()
    assert tape().data == small(upgrade()) + ahead + b"?"


def test_a_client_that_does_not_read(serve: support.Serve, loop: str, tape: Callable[[], Tape]) -> None:
    """The class gets the connection once the response before it has left. With h11, it gets it before that, and is told
    that the transport's queue is full, and when it is not any more."""
    body = bytes(LARGE)

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    server = serve(large, ws=Tape, loop=loop)
    python = server.server.config.http == "h11"
    with Wire(server.connect()) as wire:
        wire.send(GET + upgrade() + b"?")
        if python:
            assert Tape.connected.wait(60)
        for _ in range(10):
            server.go_round()
        assert Tape.connected.is_set() is python
        assert wire.response().body == body
        assert wire.file.read(6) == b"answer"
    server.stop()
    assert tape().calls[:3] == (["made", "pause", "resume"] if python else ["made", "lost"])


def test_stop(serve: support.Serve, loop: str, tape: Callable[[], Tape]) -> None:
    server = serve(both, ws=Tape, loop=loop)
    with Wire(server.connect()) as wire:
        wire.send(upgrade() + b"?")
        assert wire.file.read(6) == b"answer"
        server.server.should_exit = True
        assert wire.rest() == b"bye"
    server.join()
    assert tape().calls == ["made", "shutdown", "lost"]


def test_stop_by_force(serve: support.Serve, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not close when it is told to is closed when time is up."""
    monkeypatch.setattr(Tape, "shutdown", lambda self: None)
    server = serve(both, ws=Tape, loop=loop, timeout_graceful_shutdown=0)
    with Wire(server.connect()) as wire:
        wire.send(upgrade() + b"?")
        assert wire.file.read(6) == b"answer"
        server.server.should_exit = True
        assert wire.rest() == b""
    server.join()


@pytest.mark.parametrize("method", ["__init__", "connection_made", "data_received"])
def test_a_class_that_fails(
    serve: support.Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """It costs that connection alone, also where the handshake waited for another response."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Tape, method, fail)
    monkeypatch.setattr(Tape, "connection_lost", lambda self, exc: None)
    server = serve(both, ws=Tape)
    with Wire(server.connect()) as wire:
        wire.send(upgrade())
        assert wire.rest() == b""
    assert [each.getMessage() for each in caplog.records] == ["Exception in connection"]
    with Wire(server.connect()) as wire:
        wire.send(GET + upgrade())
        assert wire.response().body == b"ok"
        assert wire.rest() == b""
    assert server.fetch()[2] == b"ok"
    server.server.server_state.connections.clear()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(upgrade(version="12"), 426), (upgrade(key=None), 400), (upgrade(method="POST"), 405), (upgrade(http="1.0"), 200)],
)
@pytest.mark.parametrize("serve", ["auto"], indirect=True)
def test_what_is_no_handshake_stays_with_the_core(
    serve: support.Serve, tape: Callable[[], Tape], request_bytes: bytes, status: int
) -> None:
    server = serve(both, ws=Tape)
    with Wire(server.connect()) as wire:
        assert wire.ask(request_bytes).status == status
    assert Tape.made == []


def test_limit_concurrency(serve: support.Serve, tape: Callable[[], Tape]) -> None:
    server = serve(both, ws=Tape, limit_concurrency=2)
    with Wire(server.connect()) as first:
        first.send(upgrade() + b"?")
        assert first.file.read(6) == b"answer"
        with Wire(server.connect()) as second:
            assert second.ask(upgrade()).status == 503
    assert len(Tape.made) == 1


def test_a_server_that_is_about_to_stop_takes_none(serve: support.Serve, tape: Callable[[], Tape]) -> None:
    server = serve(both, ws=Tape)
    server.server.server_state.announce_drain(5)
    with Wire(server.connect()) as wire:
        assert wire.ask(upgrade()).status == 503
    assert Tape.made == []


@pytest.mark.parametrize(("trusted", "scheme", "host"), [("127.0.0.1", "wss", "192.0.2.1"), ("", "ws", "127.0.0.1")])
def test_proxy_headers(serve: support.Serve, trusted: str, scheme: str, host: str) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["scheme"], scope["client"][0]))
        await both(scope, receive, send)

    server = serve(app, ws=IMPLEMENTATIONS + CLASSES[0], forwarded_allow_ips=trusted)
    fields = ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"]
    with opened(server, *fields) as client:
        client.send(text(b"x"))
        assert client.frame() == (TEXT, b"x")
    server.fetch(headers=dict(field.split(": ") for field in fields))
    assert seen == [(scheme, host), (scheme.replace("ws", "http"), host)]


def test_the_class_that_a_program_reads() -> None:
    config = Config(both, ws=Tape, log_config=None)
    config.load()
    assert config.ws_protocol_class is Tape


@pytest.mark.parametrize("name", ["websockets_impl:WebSocketProtocol", "wsproto_impl:WSProtocol"])
def test_uvicorns_names_for_the_cores_own(serve: support.Serve, name: str) -> None:
    """As uvicorn's module of that name has it, in fastserve's; a subclass would not get what it expects."""
    module = name.partition("_impl")[0]
    found = import_from_string(f"fastserve.protocols.websockets.{name}")
    server = serve(both, ws=found)
    assert server.server.config.ws_protocol_class is found
    assert server.server.config.ws_framing is framing_class(module)
    with Socket(server.connect()) as client:
        client.open("/")
        client.send(text(b"x"))
        assert client.frame() == (TEXT, b"x")


def test_a_subclass_of_the_cores_own(caplog: pytest.LogCaptureFixture) -> None:
    class Own(WebSocketConnection):
        pass

    with pytest.raises(SystemExit):
        Config(both, ws=Own, log_config=None).load()  # type: ignore[arg-type]
    assert "It is a subclass of a class that only stands for the compiled core." in caplog.text


def test_large_messages_of_both_sides(serve: support.Serve, loop: str) -> None:
    """Back-pressure goes through: the client sends all before it reads anything."""
    server = serve(both, ws=IMPLEMENTATIONS + CLASSES[0], loop=loop)
    with opened(server) as client:
        for index in range(50):
            client.send(binary(bytes([index]) * 1000))
        for index in range(50):
            frame = client.frame()
            assert frame is not None and frame[1] == bytes([index]) * 1000


@pytest.mark.parametrize("serve", ["h11", "uvicorn.protocols.http.h11_impl:H11Protocol"], indirect=True)
@pytest.mark.parametrize("ws", ["auto", "websockets", "wsproto", "apps.own_framing:Own"])
def test_behind_another_class_for_http(serve: support.Serve, ws: str, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(both, ws=ws)
    with Socket(server.connect()) as client:
        client.open("/")
        client.send(text(b"x"))
        assert client.frame() == (TEXT, b"x from the class" if "own_" in ws else b"x")
        assert server.fetch()[2] == b"ok"
        server.server.should_exit = True
        assert client.frame() == closing(1012)
        client.send(close(1012))
        assert client.rest() == b""
    server.join()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("serve", ["h11", "uvicorn.protocols.http.h11_impl:H11Protocol"], indirect=True)
def test_none_behind_another_class_for_http(serve: support.Serve) -> None:
    server = serve(both, ws="none")
    assert server.server.config.ws_protocol_class is None
    with Wire(server.connect()) as client:
        assert client.send(upgrade()).file.readline() == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("serve", ["h11", "uvicorn.protocols.http.h11_impl:H11Protocol"], indirect=True)
@pytest.mark.parametrize("ws", ["auto", IMPLEMENTATIONS + CLASSES[0]])
def test_behind_a_response_that_is_not_written_yet(serve: support.Serve, ws: str, loop: str) -> None:
    """What the WebSocket sends does not overtake it."""
    body = bytes(LARGE)
    headers = [(b"content-length", str(LARGE).encode())]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            return await echo(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    server = serve(app, ws=ws, loop=loop)
    with Socket(server.connect(timeout=60)) as client:
        client.send(GET + upgrade())
        assert client.response().body == body
        assert client.file.readline().startswith(b"HTTP/1.1 101 ")
        while client.file.readline() != b"\r\n":
            pass
        client.send(text(b"x"))
        assert client.frame() == (TEXT, b"x")


def test_the_core_waits_for_what_the_transport_holds() -> None:
    """The core writes to the socket itself, but not while bytes of who had the transport before wait for it."""
    ours, theirs = socket.socketpair()
    wire = FakeWorker(echo)
    with ours, theirs:
        transport = FakeTransport(wire.loop, socket=ours)
        transport.queue = 5
        state: Any = SimpleNamespace(worker=wire.worker)
        connection = WebSocketConnection(Config(echo, log_config=None), state, {})
        transport.protocol = connection
        connection.connection_made(transport)
        assert transport.high == 0
        wire.call(connection.data_received, upgrade())
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        transport.queue = 0
        wire.call(connection.resume_writing)
        assert theirs.recv(1000).startswith(b"HTTP/1.1 101 ")
        wire.close()
