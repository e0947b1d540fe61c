"""The end of a connection: idle, drained, or lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core.http2.test_streams import Work, body, echo, start
from fakes.http2 import CANCEL, GOAWAY, NO_ERROR, PING, POST, Http2Client, data, headers, ping
from fakes.worker import hello


class TestTheEnd:
    def test_idle(self, work: Work) -> None:
        client = Http2Client(work(hello(), timeout_keep_alive=5.0))
        client.ask(1)
        client.wire.advance(4)
        client.send(ping())
        client.wire.advance(2)
        frames = client.hear()
        assert [each.type for each in frames] == [GOAWAY, PING]
        assert client.goaways == [(0x7FFFFFFF, NO_ERROR)]
        assert not client.closed
        client.send(ping(frames[1].payload, ack=True))
        assert client.goaways[1:] == [(1, NO_ERROR)]
        assert client.closed

    def test_drain(self, work: Work) -> None:
        """Two steps: what is sent before the client hears of it is served, what comes later is ignored."""
        client = Http2Client(work(echo))
        client.send(headers(1, POST, end=False))
        client.wire.call(client.wire.worker.drain)
        (first, probe) = client.hear()
        assert (first.type, probe.type) == (GOAWAY, PING)
        client.send(headers(3, POST, end=False))
        client.send(ping(probe.payload, ack=True))
        assert client.goaways == [(0x7FFFFFFF, NO_ERROR), (3, NO_ERROR)]
        client.send(headers(5), headers(7, POST, end=False), data(7, b"x"))
        client.send(data(1, b"a", end=True))
        assert client.replies[1].body == b"a"
        assert client.error is None
        client.send(data(3, b"b", end=True))
        assert client.replies[3].body == b"b"
        assert client.closed
        assert 5 not in client.replies and 7 not in client.replies

    def test_drain_of_a_client_that_says_nothing(self, work: Work) -> None:
        client = Http2Client(work(hello()))
        client.ask(1)
        client.wire.call(client.wire.worker.drain)
        client.wire.advance(1.1)
        client.hear()
        assert client.goaways == [(0x7FFFFFFF, NO_ERROR), (1, NO_ERROR)]
        assert client.closed

    @pytest.mark.parametrize("busy", [False, True])
    def test_drain_of_an_idle_connection(self, work: Work, busy: bool) -> None:
        """A stop waits less for it than a second: some clients answer no PING after GOAWAY, and close nothing."""
        client = Http2Client(work(echo))
        client.send(headers(1, POST, end=False))
        if not busy:
            client.send(data(1, b"a", end=True))
        client.wire.call(client.wire.worker.drain)
        client.wire.advance(0.25)
        client.hear()
        assert client.goaways == [(0x7FFFFFFF, NO_ERROR), (1, NO_ERROR)][: 1 if busy else 2]
        assert client.closed is not busy
        if busy:
            client.send(data(1, b"a", end=True))
            client.wire.advance(0.15)
            client.send(ping())
            client.wire.advance(0.1)
            client.hear()
            assert client.goaways[1:] == [(1, NO_ERROR)]
            assert client.closed

    def test_drain_while_the_transport_closes(self, work: Work) -> None:
        """The client has ended its side, with nothing under way."""
        wire = work(hello())
        client = Http2Client(wire)
        client.ask(1)

        def both() -> None:
            assert not client.peer.connection.eof_received()
            client.peer.transport.close()
            wire.worker.drain()

        wire.call(both)
        assert client.hear() == []

    def test_announced_drain(self, work: Work) -> None:
        """The next request is told that it is one of the last."""
        client = Http2Client(work(hello()))
        client.wire.worker.announce_drain()
        assert client.ask(1).body == b"hello"
        assert client.goaways == [(0x7FFFFFFF, NO_ERROR)]

    def test_end_of_streams(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            await send(body(b"x", more=True))
            await asyncio.Event().wait()

        client = Http2Client(work(app))
        client.send(headers(1))
        client.wire.call(client.wire.worker.drain)
        tasks: list[Any] = []
        client.wire.call(lambda: tasks.extend(client.wire.worker.end_streams()))
        client.hear()
        assert len(tasks) == 1
        assert client.replies[1].reset == CANCEL

    def test_lost(self, work: Work) -> None:
        client = Http2Client(work(echo))
        client.send(headers(1, POST, end=False), data(1, b"x"))
        client.peer.lose()
        assert client.wire.worker.active == 0
