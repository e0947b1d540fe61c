"""WebSockets that an application closes after somebody else has, or uses after its own close, as on uvicorn."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from support import PATIENCE, set_once_listening
from websockets.sync.client import ClientConnection, connect

import fastserve

Told = list[Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]
ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}
SEND = {"type": "websocket.send", "text": "late"}


class Servers:
    """The server of a test, in a thread of its own."""

    def __init__(self, package: Any, stack: contextlib.ExitStack) -> None:
        self.package, self.stack = package, stack
        self.server: Any = None
        self.thread: threading.Thread | None = None

    def open(self, app: Application) -> ClientConnection:
        """Serve this application and return a client of it."""
        self.server = self.package.Server(self.package.Config(app, port=0, lifespan="off", log_config=None))
        listens = threading.Event()
        set_once_listening(self.server, listens)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        self.stack.callback(self.stop)
        assert listens.wait(PATIENCE)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return self.stack.enter_context(connect(f"ws://127.0.0.1:{port}/", close_timeout=PATIENCE))

    def stop(self) -> None:
        assert self.thread is not None
        self.server.should_exit = True
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.fixture(params=[uvicorn, fastserve], ids=lambda package: package.__name__)
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    with contextlib.ExitStack() as stack:
        yield Servers(request.param, stack)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("who", ["client", "server"])
def test_what_comes_after_a_close_in_finally(servers: Servers, caplog: pytest.LogCaptureFixture, who: str) -> None:
    told: Told = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect as left:
            told.append(left.code)
        finally:
            await websocket.close()
            told.append("cleaned up")

    client = servers.open(Starlette(routes=[WebSocketRoute("/", endpoint)]))
    if who == "client":
        client.close(4001)
    servers.stop()
    assert told == [4001 if who == "client" else 1012, "cleaned up"]
    assert errors(caplog) == []


def test_messages_after_the_close_of_the_client(servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
    """A close does nothing, with whatever code; anything else raises an OSError."""
    told: Told = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        for message in (SEND, CLOSE, {**CLOSE, "code": 4000}, {**CLOSE, "code": 1}):
            try:
                told.append(await send(message))
            except OSError as error:
                told.append(isinstance(error, RuntimeError))

    servers.open(app).close()
    servers.stop()
    assert told == [False, None, None, None]
    assert errors(caplog) == []


@pytest.mark.parametrize("late", [CLOSE, SEND, ACCEPT])
def test_messages_after_its_own_close(servers: Servers, late: Any) -> None:
    """The text is one that programs search for."""
    told: Told = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await send(CLOSE)
        try:
            await send(late)
        except RuntimeError as error:
            told.append(str(error))

    servers.open(app)
    servers.stop()
    assert told == [f"Unexpected ASGI message '{late['type']}', after sending 'websocket.close'."]
