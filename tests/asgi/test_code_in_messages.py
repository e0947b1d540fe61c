"""Messages whose parts are code: what runs while a message is taken must not send, or receive, within that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import support
from core.responses import Client
from fakes.worker import get
from ws import Clients

LENGTH = (b"content-length", b"2")
START = {"type": "http.response.start", "status": 200, "headers": [LENGTH]}
BODY = {"type": "http.response.body", "body": b"no"}
REFUSAL = "RuntimeError: {} was called while a message was being taken."


@pytest.fixture(params=["auto", "http2"])
def http(request: pytest.FixtureRequest) -> str:
    wire: str = request.param
    return wire


class Within:
    """An application that answers with one of the messages below; `refused` is what its attempts within that raised."""

    def __init__(self, make: Callable[[Within], list[dict[str, Any]]]) -> None:
        self.make = make
        self.refused: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.receive, self.send = receive, send
        if scope["type"] == "websocket":
            await receive()
        try:
            for message in self.make(self):
                await send(message)
            if scope["type"] == "websocket":
                await receive()
        finally:
            del self.receive, self.send

    def attempt(self, awaitable: Any) -> None:
        """Do what `await` does, where there is no await."""
        try:
            awaitable.send(None)
        except StopIteration:
            pass
        except RuntimeError as exc:
            self.refused.append(f"RuntimeError: {exc}")

    def attempts(self, *messages: dict[str, Any]) -> Iterator[tuple[bytes, bytes]]:
        """Header fields, with these messages sent between them."""
        yield b"x-first", b"1"
        for message in messages:
            self.attempt(self.send(message))
        yield b"x-last", b"2"


def in_headers(app: Within) -> list[dict[str, Any]]:
    return [{**START, "headers": app.attempts(START, BODY)}, {**BODY, "body": b"ok"}]


def in_trailers(app: Within) -> list[dict[str, Any]]:
    trailers = {"type": "http.response.trailers"}
    fields = app.attempts({**trailers, "headers": []})
    return [{**START, "trailers": True}, {**BODY, "body": b"ok"}, {**trailers, "headers": fields}]


def in_a_body(app: Within) -> list[dict[str, Any]]:
    class Empty:
        def __bool__(self) -> bool:
            app.attempt(app.send(BODY))
            return False

    return [START, {**BODY, "body": Empty(), "more_body": True}, {**BODY, "body": b"ok"}]


def in_more_body(app: Within) -> list[dict[str, Any]]:
    class No:
        def __bool__(self) -> bool:
            app.attempt(app.send(BODY))
            return False

    return [START, {**BODY, "body": b"ok", "more_body": No()}]


@pytest.mark.parametrize("make", [in_headers, in_trailers, in_a_body, in_more_body])
def test_send(serve: support.Serve, make: Any) -> None:
    app = Within(make)
    server = serve(app)
    for _ in range(2):  # on another connection there is nothing of the first
        client = Client(server.connect())
        client.send(get("/", "TE: trailers"))
        response = client.read()
        assert response.body == b"ok" and response.get(b"x-first") == (b"1" if make is in_headers else None)
    assert set(app.refused) == {REFUSAL.format("send()")}


def test_a_head_that_fails_after_an_attempt(serve: support.Serve, log: Callable[[], list[str]]) -> None:
    """What is put together of the head does not get into the response of another connection."""

    def make(app: Within) -> list[dict[str, Any]]:
        def fields() -> Iterator[tuple[bytes, bytes]]:
            yield from app.attempts({**START, "headers": [(b"not a name", b"")]})
            raise ValueError("no more")

        return [{**START, "headers": fields()}]

    app = Within(make)
    server = serve(app)
    for _ in range(2):
        client = Client(server.connect())
        client.send(get())
        response = client.read()
        assert response.status == 500 and response.get(b"x-last") is None
    assert set(app.refused) == {REFUSAL.format("send()")}
    assert log() == ["ERROR Exception in ASGI application"] * 2


def test_receive(serve: support.Serve) -> None:
    def make(app: Within) -> list[dict[str, Any]]:
        def fields() -> Iterator[tuple[bytes, bytes]]:
            app.attempt(app.receive())
            yield LENGTH

        return [{**START, "headers": fields()}, {**BODY, "body": b"ok"}]

    app = Within(make)
    client = Client(serve(app).connect())
    client.send(get("/", "Content-Length: 3", "Expect: 100-continue", method="POST"))
    assert client.read().body == b"ok"
    assert app.refused == [REFUSAL.format("receive()")]


def test_websocket(serve: support.Serve, http: str) -> None:
    def make(app: Within) -> list[dict[str, Any]]:
        accept = {"type": "websocket.accept"}
        fields = app.attempts(accept, {"type": "websocket.send", "text": "no"})
        return [{**accept, "headers": fields}, {"type": "websocket.send", "text": "yes"}]

    app = Within(make)
    clients = Clients(lambda app, **config: serve(app, http="auto", **config), "auto", bridged=http == "http2")
    client = clients(app)
    response = client.open()
    assert (response.get(b"x-first"), response.get(b"x-last")) == (b"1", b"2")
    frame = client.frame()
    clients.close()
    assert frame is not None and frame[1] == b"yes"
    assert app.refused == [REFUSAL.format("send()")] * 2


@pytest.mark.parametrize("waits", [True, False], ids=["head alone", "no response"])
def test_in_a_handler_of_the_log(serve: support.Serve, caplog: pytest.LogCaptureFixture, waits: bool) -> None:
    """Lines are written while the head of a stream leaves, and once an application has returned without a response."""
    refused: list[str] = []
    sends: list[Any] = []

    class Attempt(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                sends[0](BODY).send(None)
            except StopIteration:
                pass
            except RuntimeError as exc:
                refused.append(str(exc))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sends.append(send)
        await send({**START, "headers": [(b"content-type", b"text/event-stream"), LENGTH]})
        await receive()
        if waits:
            await receive()
            sends.clear()

    server = serve(app, access_log=True)
    logger = logging.getLogger("fastserve.access" if waits else "fastserve.error")
    caplog.set_level(logging.INFO, logger=logger.name)
    handler = Attempt()
    logger.addHandler(handler)
    try:
        with server.connect() as sock:
            sock.sendall(get())
            data = b""
            while b"\r\n\r\n" not in data:
                data += sock.recv(65536)
            server.go_round()
    finally:
        logger.removeHandler(handler)
        sends.clear()
    assert data.count(b"HTTP/1.1 ") == 1 and data.count(b"content-length") == 1
    assert data.endswith(b"\r\n\r\n" if waits else b"Internal Server Error")
    assert refused
