"""Subscribers whose stream ends while they write to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from core.topics.test_fan_out import Room, joined, tell
from core.topics.test_http2 import event_stream
from fakes.http2 import CANCEL, INITIAL_WINDOW_SIZE, Http2Client
from fakes.worker import FakeWorker

from fastserve._core.topics.hub import Hub
from fastserve._core.topics.message import Message
from fastserve._core.topics.subscription import Subscription

Work = Callable[..., FakeWorker]


class Deaf(Room):
    """Stays when its client leaves, as applications do that do not call receive(), until `left` is set."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.left = asyncio.Event()

        async def wait() -> Any:
            await self.left.wait()
            return {"type": "http.disconnect"}

        await super().__call__(scope, wait, send)


def half_closed(wire: FakeWorker, *settings: tuple[int, int]) -> Http2Client:
    """A client that reads an event stream, and has sent its last byte: it cannot open windows any more."""
    client = Http2Client(wire, *settings)
    client.send(event_stream(1))
    client.peer.eof()
    return client


@pytest.mark.parametrize(
    "messages",
    [["x" * 70000], ["x" * 70000, "y"], ["x" * 1024] * 100, ["x" * 1000] * 101, ["x" * 1000] * 250],
    ids=["one", "first-of-two", "at-the-end-of-a-piece", "in-a-full-queue", "many"],
)
def test_messages_that_its_window_does_not_hold(work: Work, messages: list[str]) -> None:
    room = Deaf()
    wire = work(room)
    hub = joined(wire, queue=100)
    client = half_closed(wire)
    assert hub.count("room") == 1
    tell(wire, hub, *messages)
    client.hear()
    assert client.replies[1].reset == CANCEL
    assert (hub.count("room"), hub.queued_size, hub.topics) == (0, 0, {})
    wire.call(room.left.set)


def test_the_comment_that_keeps_it_alive(work: Work) -> None:
    room = Deaf(keepalive=0.001)
    wire = work(room)
    hub = joined(wire)
    half_closed(wire, (INITIAL_WINDOW_SIZE, 0))
    while hub.topics:  # on a busy machine the comment waits for a window already
        wire.turn()
    assert hub.subscriptions == 0
    wire.call(room.left.set)


@pytest.mark.parametrize("kind", ["http.response.body", "http.response.trailers"])
def test_the_application_sends_while_messages_wait(work: Work, kind: str) -> None:
    said: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
        await send({"type": "fastserve.topics.subscribe", "subscription": Subscription(hub, ("room",))})
        await half_closes.wait()
        if kind == "http.response.trailers":
            await send({"type": "http.response.body", "body": b"own"})
        hub.deliver(Message("room", "x" * 70000), 0)
        try:
            await send({"type": kind, "body": b"own"})
        except OSError as exception:
            said.append(exception)

    hub = Hub()
    half_closes = asyncio.Event()
    wire = work(app)
    client = half_closed(wire)
    wire.call(half_closes.set)
    client.hear()
    reply = client.replies[1]
    assert (reply.reset, reply.ended, len(said)) == (CANCEL, False, 1)
    assert len(reply.body) == 65535
    assert hub.topics == {}
