"""How long the head of a response waits for its body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from core.responses import read_head, read_one
from fakes.worker import FakeWorker, Peer, get
from ws import upgrade

Work = Callable[..., FakeWorker]
STREAMS = [
    b"text/event-stream", b"Text/Event-Stream; charset=utf-8", b"multipart/x-mixed-replace; boundary=a",
    b"multipart/mixed ;boundary=a", b"application/x-ndjson", b"application/ndjson", b"application/jsonl",
    b"application/json-seq", b"application/geo+json-seq", b"application/grpc", b"application/grpc-web+proto",
    b"application/stream+json", b"application/connect+json",
]  # fmt: skip
OTHERS = [
    b"", b"text/", b"text/plain", b"text/event-streams", b"multipart/form-data", b"application/json", b"application/",
    b"application/x-", b"application/xndjson", b"application/+json-seq", b"image/png",
]  # fmt: skip


class TestHeldHead:
    """A head waits for its body while its application runs, and then not for long."""

    def begun(self, work: Work, kind: bytes | None, suspend: int = 0) -> tuple[FakeWorker, Peer, asyncio.Event]:
        """Begin a response that waits for an event before its body."""
        event = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            for _ in range(suspend):
                await asyncio.sleep(0)
            headers = [] if kind is None else [(b"content-type", kind)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await event.wait()
            if scope["path"] == "/fail":
                raise RuntimeError("too late")
            await send({"type": "http.response.body", "body": b"body"})

        wire = work(app)
        return wire, wire.connect(), event

    @pytest.mark.parametrize("suspend", [0, 1])
    @pytest.mark.parametrize("kind", STREAMS)
    def test_a_streams_leaves_when_its_application_suspends(self, work: Work, kind: bytes, suspend: int) -> None:
        wire, peer, event = self.begun(work, kind, suspend)
        head = peer.feed(get())
        assert head.startswith(b"HTTP/1.1 200 ")
        wire.call(event.set)
        assert read_one(head + peer.take()).body == b"body"

    @pytest.mark.parametrize("suspend", [0, 1])
    @pytest.mark.parametrize("kind", [None, *OTHERS])
    def test_any_others_leaves_after_a_while(self, work: Work, kind: bytes | None, suspend: int) -> None:
        wire, peer, event = self.begun(work, kind, suspend)
        assert peer.feed(get()) == b""
        wire.advance(0.24)
        assert peer.take() == b""
        wire.advance(0.02)
        head = peer.take()
        assert head.startswith(b"HTTP/1.1 200 ")
        wire.call(event.set)
        assert read_one(head + peer.take()).body == b"body"

    def test_until_then_it_may_become_a_500(self, work: Work) -> None:
        wire, peer, event = self.begun(work, b"text/plain")
        assert peer.feed(get("/fail")) == b""
        wire.advance(0.24)
        wire.call(event.set)
        assert read_one(peer.take()).status == 500
        wire.advance(1)
        assert peer.take() == b""

    def test_then_it_is_broken_off(self, work: Work) -> None:
        wire, peer, event = self.begun(work, b"text/event-stream")
        head = peer.feed(get("/fail"))
        wire.call(event.set)
        assert peer.take() == b""
        assert peer.transport.closed
        assert read_head(head)[1] == b""

    def test_it_waits_for_the_body_while_the_application_runs(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", STREAMS[0])]})
            await send({"type": "http.response.body", "body": b"event", "more_body": True})
            await send({"type": "http.response.body"})

        peer = work(app).connect()
        peer.put(get())
        peer.wire.settle()
        assert len(peer.transport.writes) == 1

    def test_the_deadline_is_of_one_response(self, work: Work) -> None:
        wire, peer, event = self.begun(work, None)
        assert peer.feed(get()) == b""
        wire.advance(0.2)
        wire.call(event.set)
        assert read_one(peer.take()).get(b"content-length") == b"4"
        event.clear()
        assert peer.feed(get()) == b""
        wire.advance(0.2)
        assert peer.take() == b""
        wire.call(event.set)
        assert read_one(peer.take()).get(b"content-length") == b"4"

    def test_a_client_that_leaves_meanwhile(self, work: Work) -> None:
        wire, peer, event = self.begun(work, None)
        assert peer.feed(get()) == b""
        peer.lose()
        wire.advance(1)
        wire.call(event.set)

    def test_to_a_head_request(self, work: Work) -> None:
        wire, peer, event = self.begun(work, b"text/event-stream")
        head = peer.feed(get(method="HEAD"))
        assert read_one(head, "HEAD").status == 200
        wire.call(event.set)
        assert peer.take() == b""
        assert read_one(peer.feed(get())).body == b"body"

    def test_of_a_refused_websocket(self, work: Work) -> None:
        event = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await asyncio.sleep(0)
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            await event.wait()
            await send({"type": "websocket.http.response.body", "body": b"no"})

        wire = work(app)
        peer = wire.connect()
        assert peer.feed(upgrade()) == b""
        wire.advance(0.3)
        head = peer.take()
        assert head.startswith(b"HTTP/1.1 401 ")
        wire.call(event.set)
        assert read_one(head + peer.take()).body == b"no"
