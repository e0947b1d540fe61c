"""Bodies that clients send: what applications get, and the windows that clients get back."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from core.http2.test_streams import Work, echo, path
from fakes.http2 import (
    CANCEL,
    DATA,
    INITIAL_WINDOW_SIZE,
    PADDED,
    POST,
    WINDOW_UPDATE,
    Http2Client,
    data,
    frame,
    headers,
    ping,
    rst_stream,
    window_update,
)
from fakes.worker import read_body, respond


class TestReceiving:
    def test_bodies_within_the_first_window_cost_no_update(self, work: Work) -> None:
        client = Http2Client(work(echo))
        before = len(client.heard)
        client.send(headers(1, [*POST, ("content-length", "60000")], end=False))
        client.send(*(data(1, bytes(10_000), end=at == 5) for at in range(6)))
        client.send(window_update(1, 60_000))
        assert len(client.replies[1].body) == 60_000
        assert not [each for each in client.heard[before:] if each.type == WINDOW_UPDATE]

    def test_a_window_grows_when_the_application_asks(self, work: Work) -> None:
        client = Http2Client(work(echo))
        client.send(headers(1, POST, end=False))
        assert 65535 + client.updates(1) == 1 << 20

    def test_it_grows_on_with_what_the_application_takes(self, work: Work) -> None:
        client = Http2Client(work(length))
        client.send(headers(1, POST, end=False))
        largest = [0] * 16  # windows, for each MiB of the body
        for used in range(1 << 14, 16 << 20, 1 << 14):
            client.send(data(1, bytes(1 << 14)))
            largest[used >> 20] = max(largest[used >> 20], 65535 + client.updates(1) - used)
        assert largest[0] <= largest[1] <= 1 << 20
        assert largest[2] <= largest[3] <= 2 << 20
        assert 3 << 20 < max(largest) <= 4 << 20
        assert len([each for each in client.heard if each.type == WINDOW_UPDATE and each.stream == 1]) < 20

    def test_it_does_not_grow_for_an_application_that_is_behind(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            for _ in range(10):
                await receive()
            await wire.loop.create_future()

        wire = work(app)
        client = Http2Client(wire)
        client.send(headers(1, POST, end=False))
        used = 0
        while 65535 + client.updates(1) - used >= 1 << 14:
            client.send(data(1, bytes(1 << 14)))
            used += 1 << 14
        assert used <= (1 << 20) + 10 * (1 << 14)

    @pytest.mark.parametrize("size", [65535, 65536, 3_072_000])
    def test_the_window_is_open_at_the_end(self, work: Work, size: int) -> None:
        """nghttp2 does not send END_STREAM by itself through a closed window, and so never would."""
        client = Http2Client(work(length))
        client.send(headers(1, [*POST, ("content-length", str(size))], end=False))
        sent = 0
        while sent < size:
            room = min(65535 + client.updates(1) - sent, size - sent, 16384)
            assert room > 0
            client.send(data(1, bytes(room)))
            sent += room
        assert 65535 + client.updates(1) > size
        client.send(data(1, b"", end=True))
        assert client.replies[1].body == str(size).encode()

    def test_nothing_comes_back_before_it_is_taken(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            gates[scope["path"]] = asyncio.Event()
            await gates[scope["path"]].wait()
            await respond(send, await read_body(receive))

        gates: dict[str, asyncio.Event] = {}
        client = Http2Client(work(app))
        client.send(headers(1, POST, end=False), *(data(1, bytes(16383)) for _ in range(4)))
        assert client.updates(1) == 0
        client.send(data(1, bytes(4)))
        assert client.replies[1].reset == 3
        client.wire.call(gates["/"].set)

    def test_upload(self, work: Work) -> None:
        size = 10 << 20
        client = Http2Client(work(length))
        assert upload(client, 1, size) == size

    def received(self, work: Work, *reads: bytes) -> list[tuple[bytes, bool]]:
        """What the application of stream 1 gets of its body, message by message."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            more = True
            while more:
                message = await receive()
                assert message["type"] == "http.request"
                more = message["more_body"]
                messages[scope["path"]].append((message["body"], more))
            await respond(send)

        messages: dict[str, list[tuple[bytes, bool]]] = {"/1": [], "/3": []}
        client = Http2Client(work(app))
        client.send(headers(1, path("/1", "POST"), end=False), headers(3, path("/3", "POST"), end=False))
        for read in reads:
            client.send(read)
        assert not client.closed
        return messages["/1"]

    def test_frames_of_one_read_are_one_message(self, work: Work) -> None:
        frames = data(1, b"a" * 9000) + data(3, b"x" * 9000) + ping() + data(1, b"b" * 9000) + data(3, b"y")
        assert self.received(work, frames + data(1, b"c", end=True)) == [(b"a" * 9000 + b"b" * 9000 + b"c", False)]

    def test_a_read_that_ends_within_a_frame(self, work: Work) -> None:
        frames = data(1, b"a" * 9000) + data(1, b"b" * 9000) + data(1, b"c" * 9000, end=True)
        for cut in (9, 5000, 9009, 9012, 9018, 9020, 18_018, 18_027, 18_030, 27_026):
            pieces = self.received(work, frames[:cut], frames[cut:])
            assert b"".join(piece for piece, _ in pieces) == b"a" * 9000 + b"b" * 9000 + b"c" * 9000
            assert [more for _, more in pieces] == [True] * (len(pieces) - 1) + [False]
            assert len(pieces) <= 2

    def test_padding_and_empty_frames_between(self, work: Work) -> None:
        padded = frame(DATA, PADDED, 1, b"\x03" + b"pad" + bytes(3))
        frames = data(1, b"a") + data(1, b"") + data(1, b"b") + padded + data(1, b"c") + data(1, b"d")
        pieces = self.received(work, frames, data(1, b"e") + padded + data(1, b"", end=True))
        assert b"".join(piece for piece, _ in pieces) == b"abpadcdepad"

    def test_many_small_frames_in_one_read(self, work: Work) -> None:
        frames = b"".join(data(1, b"%03d" % at) for at in range(300))
        pieces = self.received(work, frames + data(1, b"", end=True))
        assert pieces == [(b"".join(b"%03d" % at for at in range(300)), False)]

    def test_a_limit_that_is_passed_between_frames(self, work: Work) -> None:
        client = Http2Client(work(length, limit_request_body=10_000))
        frames = data(1, bytes(9000)) + data(1, bytes(9000)) + data(1, bytes(9000), end=True)
        client.send(headers(1, POST, end=False) + frames)
        assert (client.replies[1].status, client.replies[1].ended) == (413, True)
        assert client.ask(3).status == 200

    def test_a_stream_that_ends_between_frames_of_its_body(self, work: Work) -> None:
        client = Http2Client(work(length))
        for stream in range(1, 2001, 2):
            client.send(headers(stream, POST, end=False))
            client.send(data(stream, bytes(9000)) + rst_stream(stream) + data(stream, bytes(9000)))
            client.wire.advance(4)
            client.hear()
        assert not client.closed
        assert upload(client, 2001, 10 << 20) == 10 << 20  # the window of the connection is whole again

    def test_uploads_that_are_aborted_do_not_wear_the_connection_out(self, work: Work) -> None:
        client = Http2Client(work(length))
        stream = 1
        for at in range(10_000):
            size = at * 7 % 16384
            client.send(headers(stream, POST, end=False) + data(stream, bytes(size)) + rst_stream(stream))
            stream += 2
            if at % 100 == 99:
                client.wire.advance(4)
                client.hear()
        assert not client.closed
        assert upload(client, stream, 10 << 20) == 10 << 20

    def test_uploads_that_are_aborted_while_they_are_read(self, work: Work) -> None:
        """With all that the windows allow under way, and some of it taken."""
        client = Http2Client(work(length), (INITIAL_WINDOW_SIZE, 1 << 20))
        draw = random.Random(9113)
        stream = 1
        for at in range(500):
            client.send(headers(stream, [*POST, ("content-length", str(1 << 20))], end=False))
            sizes = [draw.randrange(16385) for _ in range(draw.randrange(1, 6))]
            pads = [draw.choice([None, 0, 200]) if size < 16000 else None for size in sizes]
            client.send(*(data(stream, bytes(size), pad=pad) for size, pad in zip(sizes, pads, strict=True)))
            whole = data(stream, bytes(16384))
            place = draw.randrange(len(whole))
            client.send(whole[:place], whole[place:] + rst_stream(stream))
            stream += 2
            if at % 100 == 99:
                client.wire.advance(4)
                client.hear()
        assert not client.closed
        assert client.wire.worker.active == 0
        assert upload(client, stream, 10 << 20) == 10 << 20

    def test_uploads_that_nobody_reads_do_not_stop_another(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/sleeps":
                await receive()
                await gate.wait()
                await respond(send)
            elif scope["path"] == "/never":
                await gate.wait()
                await respond(send)
            else:
                await length(scope, receive, send)

        gate = asyncio.Event()
        client = Http2Client(work(app))
        for stream in range(1, 201, 2):
            client.send(headers(stream, path("/sleeps" if stream % 4 == 1 else "/never", "POST"), end=False))
            room = 65535 + client.updates(stream)
            while room > 0:
                client.send(data(stream, bytes(min(room, 16384))))
                room -= 16384
        assert not client.closed
        assert upload(client, 201, 10 << 20, path("/upload", "POST")) == 10 << 20
        client.wire.call(gate.set)
        client.wire.settle()

    def test_body_that_stops(self, work: Work) -> None:
        told: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while not told or told[-1]["type"] == "http.request":
                told.append(await receive())

        client = Http2Client(work(app, timeout_request_body=60.0))
        client.send(headers(1, POST, end=False), data(1, b"x"))
        client.wire.advance(59)
        client.send(data(1, b"y"))
        client.wire.advance(59)
        assert len(told) == 2
        client.wire.advance(2)
        client.hear()
        assert (told[-1]["type"], client.replies[1].reset) == ("http.disconnect", CANCEL)
        assert not client.closed


async def length(scope: Any, receive: Any, send: Any) -> None:
    """Answer how many bytes came."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        size += len(message["body"])
        if not message["more_body"]:
            return await respond(send, b"%d" % size)


def upload(client: Http2Client, stream: int, size: int, fields: Any = POST) -> int:
    """Send so many bytes as the windows allow; return what the application says that it got."""
    client.send(headers(stream, fields, end=False))
    used = 0
    while used < size:
        part = min(16384, size - used, 65535 + client.updates(stream) - used)
        assert part > 0, f"no window after {used} bytes"
        client.send(data(stream, bytes(part), end=used + part == size))
        used += part
    return int(client.replies[stream].body)
