"""Responses to HEAD that go on and on: the client has all that it gets with the head, and no write finds it gone."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import support
from asgi.gates import Gate
from core.responses import Client, read_one
from fakes.worker import get
from protocols import WIRES, protocol_of

Log = Callable[[], list[str]]
START = {"type": "http.response.start", "status": 200}


@pytest.fixture(params=WIRES)
def http(request: pytest.FixtureRequest) -> str:
    return protocol_of(request)


class Stream:
    """An application that looks at nothing but what send() says; it begins when the gate opens."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.inside, self.ended = threading.Event(), threading.Event()
        self.raised = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/next":
            await send({**START, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"next"})
            return
        self.inside.set()
        await self.gate.wait()
        await send(START)
        try:
            for _ in range(200):
                await send({"type": "http.response.body", "body": b"event", "more_body": True})
                await asyncio.sleep(0.001)
        except OSError as error:
            self.raised = type(error).__name__
            raise
        finally:
            self.ended.set()


@pytest.mark.parametrize("early", [True, False])
def test_the_application_hears_that_the_client_has_closed(
    serve: support.Serve, log: Log, http: str, early: bool
) -> None:
    """Before it has sent anything, or while it sends."""
    stream = Stream()
    client = Client(serve(stream, http=http, disconnect="raise").connect())
    client.send(get(method="HEAD"))
    assert stream.inside.wait(60)
    if early:
        client.sock.shutdown(socket.SHUT_WR)
        stream.gate.open()
    else:
        stream.gate.open()
        client.read("HEAD")
        client.sock.shutdown(socket.SHUT_WR)
    rest = client.rest()
    assert not early or read_one(rest, "HEAD").status == 200
    assert stream.ended.wait(60)
    assert (stream.raised, log()) == ("ClientDisconnected", [])


def test_a_request_behind_it_is_answered(serve: support.Serve, http: str) -> None:
    stream = Stream()
    client = Client(serve(stream, http=http).connect())
    client.send(get(method="HEAD") + get("/next"))
    client.sock.shutdown(socket.SHUT_WR)
    stream.gate.open()
    assert stream.ended.wait(60)
    assert stream.raised == ""
