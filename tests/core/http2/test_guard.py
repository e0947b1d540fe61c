"""What a client may cost: each limit at its number and one past it, and others served meanwhile."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from fakes.http2 import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GET,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    POST,
    PREFACE,
    PRIORITY_UPDATE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS_TIMEOUT,
    Http2Client,
    data,
    frame,
    headers,
    headers_in_pieces,
    ping,
    priority,
    raw_block,
    rst_stream,
    settings,
    window_update,
)
from fakes.worker import FakeWorker, hello, read_body, respond

from fastserve.middleware.wsgi import WSGIMiddleware

Work = Callable[..., FakeWorker]

RESETS, CHEAP = 200, 1000
# The client's first SETTINGS, and the acknowledgement that no test sends.
SPENT = 1


class Counting:
    """An application that answers when its client leaves, and counts how often it is started."""

    def __init__(self) -> None:
        self.started = self.running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.started += 1
        self.running += 1
        while (await receive())["type"] != "http.disconnect":
            pass
        self.running -= 1


async def reading(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, await read_body(receive))


def assert_enough(client: Http2Client) -> None:
    """The client has had enough chances, and another one is served."""
    assert client.error == ENHANCE_YOUR_CALM
    wire = client.wire
    other = Http2Client(wire)
    other.send(ping())
    assert other.heard[-1].type == PING


def streams(count: int, first: int = 1) -> range:
    return range(first, first + 2 * count, 2)


class TestResets:
    def test_of_the_client(self, work: Work) -> None:
        app = Counting()
        client = Http2Client(work(app))
        for stream in streams(RESETS):
            client.send(headers(stream), rst_stream(stream))
        assert not client.closed
        assert (app.started, app.running) == (RESETS, 0)
        client.send(headers(401), rst_stream(401))
        assert_enough(client)

    def test_in_one_read_starts_nothing(self, work: Work) -> None:
        app = Counting()
        client = Http2Client(work(app))
        client.send(b"".join(headers(stream) + rst_stream(stream) for stream in streams(20_000)))
        assert app.started == 0
        assert client.wire.worker.active == 0
        assert_enough(client)

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda stream: window_update(stream, 0),
            lambda stream: data(stream, b"x"),
            lambda stream: headers(stream, []),
            lambda stream: window_update(stream, 2**31 - 1),
        ],
    )
    def test_that_we_are_made_to_send(self, work: Work, wrong: Callable[[int], bytes]) -> None:
        app = Counting()
        client = Http2Client(work(app))
        for stream in streams(RESETS):
            client.send(headers(stream) + wrong(stream))
        assert not client.closed
        client.send(headers(401) + wrong(401))
        assert_enough(client)

    def test_of_malformed_requests(self, work: Work) -> None:
        client = Http2Client(work(hello()))
        client.send(b"".join(headers(stream, GET[1:]) for stream in streams(RESETS)))
        assert not client.closed
        client.send(headers(401, GET[1:]))
        assert_enough(client)

    def test_come_back_with_time_and_with_what_is_completed(self, work: Work) -> None:
        client = Http2Client(work(hello()))
        client.send(b"".join(headers(stream, GET[1:]) for stream in streams(RESETS)))
        client.wire.advance(1)
        client.send(b"".join(headers(stream, GET[1:]) for stream in streams(33, 401)))
        assert not client.closed
        for stream in streams(7, 501):
            client.ask(stream)
        client.send(b"".join(headers(stream, GET[1:]) for stream in streams(7, 601)))
        assert not client.closed
        client.send(headers(701, GET[1:]))
        assert_enough(client)

    def test_completed_streams_are_worth_a_thousand_at_most(self, work: Work) -> None:
        client = Http2Client(work(hello()))
        for first in range(1, 2 * 1000, 100):
            client.send(b"".join(headers(stream) for stream in streams(50, first)))
        client.send(b"".join(headers(stream, GET[1:]) for stream in streams(1000, 10_001)))
        assert not client.closed
        client.send(headers(20_001, GET[1:]))
        assert_enough(client)


class TestCheapFrames:
    CHEAP_ONES = {  # noqa: RUF012
        "SETTINGS": settings(),
        "PING": ping(),
        "PING that acknowledges": ping(ack=True),
        "PRIORITY": priority(3),
        "PRIORITY_UPDATE": frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\3u=1"),
        "unknown": frame(99, 0, 0, b"x"),
        "WINDOW_UPDATE": window_update(0, 1),
        "WINDOW_UPDATE on a closed stream": window_update(1, 1),
        "RST_STREAM on a closed stream": rst_stream(1),
    }

    @pytest.mark.parametrize("name", CHEAP_ONES)
    def test_frames(self, work: Work, name: str) -> None:
        client = Http2Client(work(hello()))
        client.ask(1)  # gives 2 more, but there are never more than at first; a DATA frame calls for 10 updates
        spare = CHEAP + 10 if "WINDOW_UPDATE" in name else CHEAP
        client.send(self.CHEAP_ONES[name] * spare)
        assert not client.closed
        client.send(self.CHEAP_ONES[name])
        assert_enough(client)

    def test_empty_data(self, work: Work) -> None:
        client = Http2Client(work(Counting()))
        client.send(headers(1, POST, end=False))
        client.send(data(1) * CHEAP)
        assert not client.closed
        client.send(data(1))
        assert_enough(client)

    def test_small_data_is_no_fault(self, work: Work) -> None:
        client = Http2Client(work(Counting()))
        client.send(headers(1, POST, end=False))
        client.send(data(1, b"x") * (CHEAP + 100))
        assert not client.closed

    def test_tokens_come_back(self, work: Work) -> None:
        client = Http2Client(work(hello()))
        client.send(ping() * (CHEAP - SPENT))
        client.wire.advance(1)
        client.send(ping() * 100)
        assert not client.closed
        client.ask(1)
        client.send(ping() * 2)
        assert not client.closed
        client.send(ping())
        assert_enough(client)

    def test_windows_that_cut_a_body_very_small(self, work: Work) -> None:
        """CVE-2019-9511."""
        client = Http2Client(work(hello(bytes(10_000))), (INITIAL_WINDOW_SIZE, 0))
        client.send(headers(1))
        for _ in range(2000):
            client.send(window_update(1, 1))
            if client.closed:
                break
        assert 900 < len(client.replies[1].body) <= CHEAP
        assert_enough(client)

    def test_large_frames_pay_for_small_ones(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(4_000_000))), (INITIAL_WINDOW_SIZE, 0))
        client.send(headers(1) + window_update(0, 1 << 24))
        for _ in range(1500):
            client.send(window_update(1, 100), window_update(1, 2048))
        assert (len(client.replies[1].body), client.closed) == (1500 * 2148, False)

    def test_windows_of_256_are_no_fault(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(512_000))), (INITIAL_WINDOW_SIZE, 0))
        client.send(headers(1) + window_update(0, 1 << 20))
        for _ in range(2000):
            client.send(window_update(1, 256))
        assert (len(client.replies[1].body), client.closed) == (512_000, False)

    def test_padding(self, work: Work) -> None:
        """`total/8 > payload + 1 MiB`, in bytes of whole frames."""
        client = Http2Client(work(Counting()))
        client.send(headers(1, POST, end=False))
        padded = data(1, b"x", pad=255)
        total = len(PREFACE + settings() + headers(1, POST))
        payload = len(raw_block(POST))
        count = 0
        while (total + (count + 1) * len(padded)) // 8 <= payload + count + 1 + (1 << 20):
            count += 1
        assert count > 32_000
        client.send(*[padded * 200] * (count // 200), padded * (count % 200))
        assert not client.closed
        client.send(padded)
        assert_enough(client)


class TestHeaderBlocks:
    @pytest.mark.parametrize(("count", "error"), [(8, None), (9, ENHANCE_YOUR_CALM)])
    @pytest.mark.parametrize("size", [0, 1])
    def test_continuation_frames(self, work: Work, count: int, size: int, error: int | None) -> None:
        client = Http2Client(work(hello()))
        client.send(headers_in_pieces(1, GET, [3, *[size] * (count - 1)]))
        assert client.error == error
        if error is None:
            assert client.replies[1].status == 200

    @pytest.mark.parametrize(("size", "error"), [(65536, None), (65537, ENHANCE_YOUR_CALM)])
    def test_compressed_size(self, work: Work, size: int, error: int | None) -> None:
        client = Http2Client(work(hello()))
        block = raw_block(GET)
        block += raw_block([("x-a", "b" * (16384 - 100))]) * 3
        block += raw_block([("x-a", "b" * (size - len(block) - 8))])
        block += raw_block([("x", "")])[: size - len(block)] if len(block) < size else b""
        assert abs(len(block) - size) <= 2
        block = block[:size]
        pieces = [block[at : at + 16384] for at in range(0, len(block), 16384)]
        out = frame(HEADERS, END_STREAM, 1, pieces[0])
        out += b"".join(frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:])
        client.send(out)
        assert client.error == error

    @pytest.mark.parametrize(("size", "status"), [(65536, 200), (65537, 431)])
    def test_list_size(self, work: Work, size: int, status: int) -> None:
        client = Http2Client(work(hello()))
        used = sum(len(name) + len(value) + 32 for name, value in GET)
        fields = [*GET, *[("x-a", "b" * (10_000 - 35))] * 6]
        fields.append(("x-b", "c" * (size - used - 60_000 - 35)))
        client.send(headers_in_pieces(1, fields, [16384] * 3))
        assert client.replies[1].status == status
        assert client.ask(3).status == 200

    @pytest.mark.parametrize(("count", "status"), [(128, 200), (129, 431)])
    def test_fields(self, work: Work, count: int, status: int) -> None:
        client = Http2Client(work(hello()))
        client.send(headers(1, [*GET, *[("x-a", "b")] * count]))
        assert client.replies[1].status == status
        assert client.ask(3).status == 200

    def test_bomb(self, work: Work) -> None:
        """CVE-2016-6581: one entry of the table, thousands of times."""
        client = Http2Client(work(hello()))
        bomb = b"\x40\x03x-a\x7f\x81\x1e" + b"b" * 3968
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, raw_block(GET) + bomb + b"\xbe" * 10_000))
        assert client.replies[1].status == 431
        assert client.ask(3).status == 200

    @pytest.mark.parametrize("begun", [frame(HEADERS, END_STREAM, 1, raw_block(GET)), headers(1)[:20]])
    def test_one_that_does_not_end(self, work: Work, begun: bytes) -> None:
        client = Http2Client(work(hello(), timeout_keep_alive=100.0))
        client.send(begun)
        client.wire.advance(29)
        client.hear()
        assert not client.closed
        client.wire.advance(2)
        client.hear()
        assert client.error == ENHANCE_YOUR_CALM

    def test_no_settings(self, work: Work) -> None:
        client = Http2Client(work(hello()), begin=False)
        client.send(PREFACE)
        client.wire.advance(29)
        assert not client.closed
        client.wire.advance(2)
        client.hear()
        assert client.error == SETTINGS_TIMEOUT


class TestStreams:
    def test_concurrent(self, work: Work) -> None:
        client = Http2Client(work(Counting()))
        client.send(*(headers(stream) for stream in streams(129)))
        assert [(each.stream, each.number) for each in client.heard if each.type == RST_STREAM] == [
            (257, REFUSED_STREAM)
        ]
        client.send(rst_stream(1), headers(259))
        assert 259 not in client.replies

    def test_applications_that_go_on_count(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            await wire.gate.wait()  # type: ignore[attr-defined]

        import asyncio

        wire = work(app, limit_http2_streams=3)
        wire.gate = asyncio.Event()  # type: ignore[attr-defined]
        client = Http2Client(wire)
        for stream in (1, 3):
            client.send(headers(stream), rst_stream(stream))
        client.send(headers(5))
        client.send(headers(7))
        assert client.replies[7].reset == REFUSED_STREAM
        wire.call(wire.gate.set)  # type: ignore[attr-defined]
        client.send(headers(9), headers(11))
        assert 9 not in client.replies and 11 not in client.replies
        wire.gate.set()  # type: ignore[attr-defined]

    @pytest.mark.parametrize(("count", "error"), [(32, None), (33, ENHANCE_YOUR_CALM)])
    def test_settings_in_a_frame(self, work: Work, count: int, error: int | None) -> None:
        client = Http2Client(work(hello()))
        client.send(settings(*[(0xAA, 1)] * count))
        assert client.error == error

    def test_refused_ones_count_as_resets(self, work: Work) -> None:
        client = Http2Client(work(Counting()))
        client.send(*(headers(stream) for stream in streams(128 + RESETS)))
        assert [each.number for each in client.heard if each.type == RST_STREAM] == [REFUSED_STREAM] * RESETS
        assert not client.closed
        client.send(headers(1001))
        assert_enough(client)

    def test_replies_that_are_not_read(self, work: Work) -> None:
        """64 KiB of them, besides those that wait for the kernel already."""
        client = Http2Client(work(Counting(), timeout_write=0))
        client.send(headers(1))
        client.peer.transport.stuck = True
        client.peer.transport.high = 0

        def send(count: int) -> None:
            client.wire.call(client.peer.connection.data_received, ping() * count)

        send(1)
        spare = 65536 // len(ping())
        for _ in range(spare // 90):
            send(90)
            client.wire.advance(1)
        send(spare % 90)
        assert not client.peer.transport.closed
        send(1)
        assert client.peer.transport.calls == ["abort"]


class TestMemory:
    def test_responses_that_nobody_takes(self, work: Work) -> None:
        """Applications are started only while less than 1 MiB waits (CVE-2019-9517)."""
        made = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal made
            made += 1
            await respond(send, bytes(1 << 20))

        client = Http2Client(work(app), (INITIAL_WINDOW_SIZE, 0))
        client.send(*(headers(stream) for stream in streams(128)))
        assert made <= 3
        for stream in streams(128):
            client.send(window_update(stream, 1 << 20), window_update(0, 1 << 20))
        assert made == 128
        assert all(len(client.replies[stream].body) == 1 << 20 for stream in streams(128))

    def test_heads_of_an_application(self, work: Work) -> None:
        """A WSGI application is not called while more than 64 KiB of heads wait for a client that does not read."""
        made = 0

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            nonlocal made
            made += 1
            start_response("204 No Content", [("X", secrets.token_hex(2000))])
            return []

        wsgi = WSGIMiddleware(app, workers=0)
        client = Http2Client(work(wsgi, direct=wsgi.calls, timeout_write=0))
        client.peer.transport.stuck = True
        client.peer.transport.high = 0
        for stream in streams(100):
            client.wire.call(client.peer.connection.data_received, headers(stream))
        assert 20 < made < 40
        for _ in range(10):
            client.peer.transport.unstick()
            client.peer.wire.settle()
            client.hear()
        assert made == 100
        assert all(client.replies[stream].ended for stream in streams(100))

    def test_heads_that_are_not_read(self, work: Work) -> None:
        """A response of the server's own that is only a head waits for nothing: beyond 1 MiB its stream is refused."""
        client = Http2Client(work(hello(), health_path=b"/health", timeout_write=0), (HEADER_TABLE_SIZE, 0))
        client.peer.transport.stuck = True
        client.peer.transport.high = 0
        fields = [(":method", "HEAD"), (":scheme", "http"), (":path", "/health"), (":authority", "a")]
        stream = 1
        while not client.wire.messages:
            assert stream < 40_000, "all of them get their response"
            data = b"".join(headers(each, fields) for each in range(stream, stream + 200, 2))
            client.wire.call(client.peer.connection.data_received, data)
            stream += 200
        while client.peer.transport.queue:
            client.peer.transport.unstick()
            client.wire.settle()
        client.hear()
        assert client.error == ENHANCE_YOUR_CALM

    def test_one_response_does_not_stop_others(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await respond(send, bytes(8 << 20) if scope["path"] == "/large" else b"small")

        client = Http2Client(work(app))
        client.send(headers(1, [*GET[:2], (":path", "/large"), GET[3]]))
        client.send(window_update(0, 1 << 20))
        assert client.ask(3).body == b"small"


def test_fault_is_logged_once(work: Work) -> None:
    client = Http2Client(work(hello()))
    client.send(ping(b"short"), ping(b"short"))
    assert client.wire.messages == ["Invalid HTTP request received."]
    assert ("frame too short" in client.wire.logged[-1][1]) and client.error == 6


def test_same_frames_in_any_segmentation(work: Work) -> None:
    """Byte by byte, what is found is the same as in one piece."""
    talk = PREFACE + settings((1, 100)) + headers_in_pieces(1, [*POST, ("content-length", "6")], [3, 4], end=False)
    talk += data(1, b"abc", pad=5) + data(1) + data(1, b"def", end=True) + ping() + frame(99, 0, 0, b"zzz")
    talk += headers(3) + priority(5) + frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\3u=1, i") + settings(ack=True)
    whole = Http2Client(work(reading), begin=False)
    whole.send(talk)
    pieces = Http2Client(work(reading), begin=False)
    pieces.send(*(bytes([byte]) for byte in talk))

    def kinds(client: Http2Client) -> Any:
        return sorted((each.type, each.stream, each.flags) for each in client.heard)

    assert kinds(whole) == kinds(pieces)
    assert whole.replies[1].body == pieces.replies[1].body == b"abcdef"
