"""Pieces that a window would cut very small wait for what the client owes (RFC 9293 section 3.8.6.2.1, for TCP)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from core.extended_connect import frames, opened, opening
from fakes.http2 import (
    DATA,
    GET,
    INITIAL_WINDOW_SIZE,
    PRIORITY_UPDATE,
    Frame,
    Http2Client,
    frame,
    headers,
    rst_stream,
    settings,
    window_update,
)
from fakes.worker import FakeWorker, hello, respond
from ws import Script, sent

Work = Callable[..., FakeWorker]

WINDOW = 20_000
SMALL = 256
WIDE = window_update(0, 1 << 24)  # of the connection, so that streams' own windows count


def sizes(heard: list[Frame], stream: int = 1) -> list[int]:
    return [len(each.payload) for each in heard if each.type == DATA and each.stream == stream]


def by_path(scope: Any, receive: Any, send: Any) -> Any:
    """Respond with as many bytes as the path says."""
    return respond(send, bytes(int(scope["path"][1:])))


def ask_for(stream: int, size: int) -> bytes:
    return headers(stream, [*GET[:2], (":path", f"/{size}"), GET[3]])


def begun(work: Work) -> Http2Client:
    """Return a client that has all that its stream's window allows of a longer response."""
    client = Http2Client(work(hello(bytes(3 * WINDOW))), (INITIAL_WINDOW_SIZE, WINDOW))
    client.send(WIDE)
    assert sizes(client.send(headers(1))) == [16384, WINDOW - 16384]
    return client


def test_waits_until_the_window_has_grown(work: Work) -> None:
    client = begun(work)
    assert sizes(client.send(window_update(1, 100), window_update(1, SMALL - 101))) == []
    assert sizes(client.send(window_update(1, 1))) == [SMALL]


def test_waits_until_the_client_changes_its_settings(work: Work) -> None:
    client = begun(work)
    assert sizes(client.send(window_update(1, 100))) == []
    assert sizes(client.send(settings((INITIAL_WINDOW_SIZE, WINDOW + 200)))) == [300]


def test_does_not_wait_longer_than_a_quarter_of_a_second(work: Work) -> None:
    client = begun(work)
    for more in (100, 50):
        assert sizes(client.send(window_update(1, more))) == []
        client.wire.advance(0.2)
        assert sizes(client.hear()) == []
        client.wire.advance(0.1)
        assert sizes(client.hear()) == [more]


def test_a_larger_piece_in_between_ends_the_wait(work: Work) -> None:
    client = begun(work)
    client.send(window_update(1, 100))
    client.wire.advance(0.2)
    assert sizes(client.send(window_update(1, 200), window_update(1, 100))) == [300]
    client.wire.advance(0.2)
    assert sizes(client.hear()) == []
    client.wire.advance(0.1)
    assert sizes(client.hear()) == [100]


def test_a_window_that_closes_again(work: Work) -> None:
    client = begun(work)
    client.send(window_update(1, 100), settings((INITIAL_WINDOW_SIZE, WINDOW - 100)))
    client.wire.advance(0.3)
    assert sizes(client.hear()) == []
    assert sizes(client.send(window_update(1, 300))) == [300]


def test_a_stream_that_is_reset_meanwhile(work: Work) -> None:
    client = begun(work)
    client.send(window_update(1, 100), rst_stream(1))
    client.wire.advance(0.3)
    assert sizes(client.hear()) == []
    assert not client.closed


@pytest.mark.parametrize("how", ["lose", "eof"])
def test_a_client_that_leaves_meanwhile(work: Work, how: str) -> None:
    client = begun(work)
    client.send(window_update(1, 100))
    getattr(client.peer, how)()
    client.wire.advance(0.3)
    assert client.wire.messages == []


def test_the_end_does_not_wait(work: Work) -> None:
    client = Http2Client(work(hello(bytes(WINDOW + 100))), (INITIAL_WINDOW_SIZE, WINDOW))
    client.ask(1)
    assert sizes(client.send(window_update(1, 99))) == []
    assert sizes(client.send(window_update(1, 1))) == [100]
    assert client.replies[1].ended


def test_what_the_application_makes_small_does_not_wait(work: Work) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for size in (WINDOW - 100, 50, 30, 30):
            await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    client = Http2Client(work(app), (INITIAL_WINDOW_SIZE, WINDOW))
    assert sizes(client.send(headers(1))) == [16384, WINDOW - 100 - 16384, 50, 30]
    assert sizes(client.send(window_update(1, 1000))) == [30, 0]


@pytest.mark.parametrize(("window", "at_once"), [(SMALL + 100, [100]), (SMALL + 101, [])])
def test_a_client_that_owes_little_gets_it_at_once(work: Work, window: int, at_once: list[int]) -> None:
    """Its windows are as small as that."""
    client = Http2Client(work(hello(bytes(1000))), (INITIAL_WINDOW_SIZE, window))
    client.ask(1)
    assert sizes(client.send(window_update(1, 100))) == at_once


class TestTheConnection:
    """Its window is what cuts the piece."""

    def begun(self, work: Work) -> Http2Client:
        client = Http2Client(work(by_path), (INITIAL_WINDOW_SIZE, 1 << 20))
        assert sum(sizes(client.send(ask_for(1, 200_000)))) == 65_535
        return client

    def test_waits_until_the_window_has_grown(self, work: Work) -> None:
        client = self.begun(work)
        assert sizes(client.send(window_update(0, 100))) == []
        assert sizes(client.send(window_update(1, 1 << 10))) == []
        assert sizes(client.send(window_update(0, 156))) == [SMALL]

    def test_does_not_wait_longer_than_a_quarter_of_a_second(self, work: Work) -> None:
        client = self.begun(work)
        client.send(window_update(0, 100))
        client.wire.advance(0.3)
        assert sizes(client.hear()) == [100]

    def test_what_fits_does_not_wait(self, work: Work) -> None:
        client = self.begun(work)
        client.send(window_update(0, 100))
        assert sizes(client.send(ask_for(3, 50)), 3) == [50]

    @pytest.mark.parametrize(
        "meanwhile",
        [
            rst_stream(1),
            settings((INITIAL_WINDOW_SIZE, 100)),
            frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\3u=0"),
        ],
        ids=["reset", "window", "priority"],
    )
    def test_others_go_on_when_it_is_their_turn(self, work: Work, meanwhile: bytes) -> None:
        client = self.begun(work)
        client.send(ask_for(3, 80), window_update(0, 100))
        assert sizes(client.heard, 3) == []
        client.send(meanwhile)
        assert sizes(client.heard, 3) == [80]


class TestFrameByFrame:
    """A client that gives back each frame as it comes."""

    def take_all(self, client: Http2Client, heard: list[Frame], *, connection: bool = True) -> list[int]:
        """Return the sizes of the frames that it gets."""
        taken, found = deque(heard), []
        while taken:
            each = taken.popleft()
            if each.type == DATA and each.payload:
                found.append(len(each.payload))
                more = len(each.payload)
                taken += client.send((window_update(0, more) if connection else b"") + window_update(each.stream, more))
        return found

    @pytest.mark.parametrize(("window", "piece"), [(65_535, 16_400), (65_535, 17_000), (50_000, 33_333)])
    def test_a_body(self, work: Work, window: int, piece: int) -> None:
        """Some 3 MB: for each piece there may be one small frame, its end."""
        count = 3_000_000 // piece

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            for _ in range(count):
                await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
            await send({"type": "http.response.body", "body": b""})

        client = Http2Client(work(app), (INITIAL_WINDOW_SIZE, window))
        found = self.take_all(client, client.send(headers(1)))
        assert (sum(found), client.replies[1].ended, client.closed) == (count * piece, True, False)
        assert sum(size < SMALL for size in found) <= count

    def test_several_bodies(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(1_000_000))), (INITIAL_WINDOW_SIZE, 40_000))
        found = self.take_all(client, client.send(*map(headers, (1, 3, 5))))
        assert (sum(found), client.closed) == (3_000_000, False)
        assert sum(size < SMALL for size in found) <= 3

    def test_messages(self, work: Work) -> None:
        async def run(receive: Any, send: Any) -> None:
            for number in range(150):
                await send(sent(bytes([number]) * 20_000))
            await receive()

        client = Http2Client(work(Script(run)), (INITIAL_WINDOW_SIZE, 50_000))
        found = self.take_all(client, client.send(opening()))
        assert [payload for _, payload in frames(client)] == [bytes([number]) * 20_000 for number in range(150)]
        assert not client.closed
        assert sum(size < SMALL for size in found) <= 150


def test_a_message_that_waits_goes_on(work: Work) -> None:
    """And send() of it with that."""
    done: list[int] = []

    async def run(receive: Any, send: Any) -> None:
        for size in (WINDOW - 100, 1000):
            await send(sent(bytes(size)))
            done.append(size)
        await receive()

    client = opened(work(Script(run)), (INITIAL_WINDOW_SIZE, WINDOW))
    assert (sum(sizes(client.heard)), done) == (WINDOW - 96, [WINDOW - 100])
    client.wire.advance(0.3)
    client.hear()
    assert sum(sizes(client.heard)) == WINDOW
    client.send(window_update(1, 1000))
    assert done == [WINDOW - 100, 1000]
