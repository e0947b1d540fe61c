"""A request and its response: what applications see, what clients get."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from fakes.http2 import (
    CANCEL,
    DATA,
    GET,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    MAX_FRAME_SIZE,
    NO_ERROR,
    PING,
    POST,
    Http2Client,
    data,
    goaway,
    headers,
    headers_in_pieces,
    ping,
    rst_stream,
    settings,
    window_update,
)
from fakes.worker import FakeWorker, hello, read_body, respond

Work = Callable[..., FakeWorker]


def start(status: int = 200, *fields: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(fields), **more}


def body(content: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


def path(target: str, method: str = "GET") -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", "http"), (":path", target), (":authority", "a")]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, await read_body(receive))


def test_echo(work: Work) -> None:
    client = Http2Client(work(echo))
    assert client.ask(1, POST, b"hello").body == b"hello"
    client.send(headers(3, POST, end=False), data(3, b"a"), data(3, b"b", pad=9), data(3, end=True))
    assert client.replies[3].body == b"ab"


def test_many_streams_in_one_read(work: Work) -> None:
    client = Http2Client(work(echo))
    client.send(b"".join(headers(2 * at + 1, POST, end=False) for at in range(50)))
    client.send(b"".join(data(2 * at + 1, b"%d" % at, end=True) for at in range(50)))
    assert [client.replies[2 * at + 1].body for at in range(50)] == [b"%d" % at for at in range(50)]


class TestResponse:
    @pytest.mark.parametrize(
        ("method", "status", "length"), [("HEAD", 200, "5"), ("GET", 204, None), ("GET", 304, None), ("GET", 205, "0")]
    )
    def test_without_a_body(self, work: Work, method: str, status: int, length: str | None) -> None:
        fields = [(b"content-length", b"5")] if method == "HEAD" else []
        reply = Http2Client(work(hello(status=status, headers=fields))).ask(1, path("/", method))
        assert (reply.status, reply.body, reply.ended) == (status, b"", True)
        assert reply.head.get("content-length") == length

    def test_empty_body(self, work: Work) -> None:
        client = Http2Client(work(hello(b"")))
        client.ask(1)
        assert [each.type for each in client.heard if each.stream == 1] == [HEADERS]
        assert client.replies[1].head["content-length"] == "0"

    def test_fields(self, work: Work) -> None:
        fields = [(b"X-A", b"b"), (b"connection", b"close"), (b"transfer-encoding", b"chunked"), (b"set-cookie", b"c")]
        head = Http2Client(work(hello(headers=fields))).ask(1).heads[0]
        names = [name for name, _ in head]
        assert sorted(names) == [":status", "content-length", "date", "server", "set-cookie", "x-a"]

    def test_head_longer_than_a_frame(self, work: Work) -> None:
        fields = [(b"x-%d" % at, bytes(str(at), "ascii") * 3000) for at in range(10, 30)]
        client = Http2Client(work(hello(headers=fields)))
        reply = client.ask(1)
        assert reply.head["x-29"] == "29" * 3000
        assert max(len(each.payload) for each in client.heard) == 16384

    def test_pieces(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            for at in range(5):
                await send(body(b"%d" % at, more=True))
            await send(body())

        reply = Http2Client(work(app)).ask(1)
        assert (reply.body, reply.ended) == (b"01234", True)
        assert "content-length" not in reply.head

    @pytest.mark.parametrize(("length", "sent"), [(b"5", b"123456"), (b"5", b"1234")])
    def test_wrong_length(self, work: Work, length: bytes, sent: bytes) -> None:
        reply = Http2Client(work(hello(sent, headers=[(b"content-length", length)]))).ask(1)
        assert reply.status == 500

    def test_early_hints_and_continue(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]})
            await respond(send, await read_body(receive))

        client = Http2Client(work(app))
        client.send(headers(1, [*POST, ("expect", "100-continue")], end=False))
        assert [dict(head)[":status"] for head in client.replies[1].heads] == ["103", "100"]
        client.send(data(1, b"x", end=True))
        assert (client.replies[1].status, client.replies[1].body) == (200, b"x")

    def test_no_continue_for_a_body_that_is_there(self, work: Work) -> None:
        client = Http2Client(work(hello()))
        assert len(client.ask(1, [*POST, ("expect", "100-continue")], b"x").heads) == 1

    @pytest.mark.parametrize("asked", [True, False])
    def test_trailers(self, work: Work, asked: bool) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start(trailers=True))
            await send(body(b"x"))
            await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})

        client = Http2Client(work(app))
        reply = client.ask(1, [*GET, ("te", "trailers")] if asked else GET)
        assert (reply.body, reply.ended) == (b"x", True)
        assert reply.heads[1:] == ([[("grpc-status", "0")]] if asked else [])

    def test_trailers_wait_for_the_body(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start(trailers=True))
            await send(body(b"abc"))
            await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"0")]})

        client = Http2Client(work(app), (INITIAL_WINDOW_SIZE, 2))
        client.ask(1, [*GET, ("te", "trailers")])
        assert (client.replies[1].body, client.replies[1].ended) == (b"ab", False)
        client.send(window_update(1, 1))
        assert (client.replies[1].body, client.replies[1].ended) == (b"abc", True)
        assert client.replies[1].heads[1] == [("x-sum", "0")]

    def test_wrong_trailers_are_an_error_of_that_send(self, work: Work) -> None:
        errors: list[Exception] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start(trailers=True))
            await send(body(b"x"))
            try:
                await send({"type": "http.response.trailers", "headers": [(b"x-a", b"b"), (b"content-length", b"1")]})
            except ValueError as error:
                errors.append(error)
            await send({"type": "http.response.trailers", "headers": [(b"x-b", b"c")]})

        client = Http2Client(work(app))
        reply = client.ask(1, [*GET, ("te", "trailers")])
        assert errors
        assert reply.heads[1:] == [[("x-b", "c")]]
        assert client.ask(3, [*GET, ("te", "trailers")]).heads[1:] == [[("x-b", "c")]]

    def test_file(self, work: Work) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(b"0123456789" * 10_000)
            file.flush()

            async def app(scope: Any, receive: Any, send: Any) -> None:
                await send(start())
                await send({"type": "http.response.zerocopysend", "file": file.fileno(), "offset": 5, "count": 50_000})

            client = Http2Client(work(app))
            client.send(headers(1))
            for _ in range(100):
                client.hear()
                if client.replies and client.replies[1].ended:
                    break
                client.wire.loop.run_until_complete(asyncio.sleep(0.01))
            assert client.replies[1].body == (b"0123456789" * 10_000)[5:50_005]
            assert client.replies[1].head["content-length"] == "50000"

    def test_held_head_of_a_stream(self, work: Work) -> None:
        """It leaves alone when its application waits."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start(200, (b"content-type", b"text/event-stream")))
            await receive()
            await receive()

        client = Http2Client(work(app))
        client.send(headers(1))
        assert client.replies[1].status == 200
        assert not client.replies[1].ended
        client.send(rst_stream(1))

    def test_held_head_of_others(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start(200, (b"content-type", b"text/plain")))
            while (await receive())["type"] != "http.disconnect":
                pass

        client = Http2Client(work(app))
        client.send(headers(1))
        assert 1 not in client.replies
        client.wire.advance(0.3)
        client.hear()
        assert client.replies[1].status == 200
        client.send(rst_stream(1))


class TestFailures:
    def test_before_the_head(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/":
                await send(start(200, (b"x-never", b"sent")))
                raise RuntimeError("failed")
            await respond(send, b"ok")

        client = Http2Client(work(app))
        reply = client.ask(1)
        assert (reply.status, reply.body, reply.ended) == (500, b"Internal Server Error", True)
        assert "x-never" not in reply.head
        assert client.ask(3, path("/ok")).body == b"ok"
        client.wire.errors.clear()

    def test_after_it(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            await send(body(b"x", more=True))
            raise RuntimeError("failed")

        client = Http2Client(work(app))
        reply = client.ask(1)
        assert (reply.body, reply.ended, reply.reset) == (b"x", False, INTERNAL_ERROR)
        client.send(ping())
        assert client.heard[-1].type == PING
        client.wire.errors.clear()

    def test_no_response(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            pass

        client = Http2Client(work(app))
        assert client.ask(1).status == 500
        assert client.wire.messages == ["ASGI callable returned without starting response."]


class TestClientsThatLeave:
    @pytest.mark.parametrize("how", ["reset", "lose"])
    def test_disconnect(self, work: Work, how: str) -> None:
        told: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            told.append(await receive())
            told.append(await receive())
            await respond(send)

        client = Http2Client(work(app))
        client.send(headers(1))
        client.send(rst_stream(1)) if how == "reset" else client.peer.lose()
        assert [message["type"] for message in told] == ["http.request", "http.disconnect"]
        assert client.wire.messages == []

    @pytest.mark.parametrize("how", ["reset", "lose"])
    def test_disconnect_raises(self, work: Work, how: str) -> None:
        caught: list[Exception] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            await send(body(b"x", more=True))
            await receive()
            await receive()
            try:
                await send(body(b"y", more=True))
            except OSError as error:
                caught.append(error)

        client = Http2Client(work(app, raise_disconnect=True))
        client.send(headers(1))
        client.send(rst_stream(1)) if how == "reset" else client.peer.lose()
        assert len(caught) == 1

    def test_body_that_came_before(self, work: Work) -> None:
        told: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while not told or told[-1]["type"] == "http.request":
                told.append(await receive())

        client = Http2Client(work(app))
        client.send(headers(1, POST, end=False), data(1, b"abc"), rst_stream(1))
        assert [(message["type"], message.get("body")) for message in told] == [
            ("http.request", b"abc"),
            ("http.disconnect", None),
        ]

    def test_goaway_leaves_streams_alone(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(100_000))))
        client.send(headers(1))
        client.send(goaway(0, NO_ERROR))
        assert not client.closed
        client.send(window_update(0, 100_000) + window_update(1, 100_000))
        assert (len(client.replies[1].body), client.replies[1].ended, client.closed) == (100_000, True, True)

    def test_half_closed(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            assert (await receive())["type"] == "http.disconnect"
            await respond(send, b"still here")

        client = Http2Client(work(app))
        client.send(headers(1))
        client.take(client.peer.eof())
        assert client.replies[1].body == b"still here"
        assert client.closed

    @pytest.mark.parametrize("when", ["before the head", "after it"])
    def test_half_closed_by_who_asks_for_the_head_of_a_stream(self, work: Work, when: str) -> None:
        """It may go on and on: the client has all that it gets, and no write would find it gone."""
        raised: list[Exception] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await gate.wait()
            await send(start(200, (b"content-type", b"text/event-stream")))
            try:
                for _ in range(1000):
                    await send(body(b"event", more=True))
                    await asyncio.sleep(0)
            except OSError as error:
                raised.append(error)

        gate = asyncio.Event()
        client = Http2Client(work(app, raise_disconnect=True))
        client.peer.put(headers(1, path("/", "HEAD")))
        client.wire.turn(5)
        if when == "after it":
            client.wire.loop.call_soon(gate.set)
            client.wire.turn(5)
        client.take(client.peer.eof())
        gate.set()
        client.hear()
        assert (client.replies[1].status, client.replies[1].ended, client.replies[1].reset) == (200, True, None)
        assert raised
        assert client.closed

    def test_half_closed_with_such_a_stream_that_is_silent(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start(200, (b"content-type", b"text/event-stream")))
            await send(body(b"event", more=True))
            await gate.wait()

        gate = asyncio.Event()
        client = Http2Client(work(app))
        assert client.ask(1, path("/", "HEAD")).ended
        client.peer.eof()
        assert client.closed
        client.wire.call(gate.set)

    def test_half_closed_with_a_window_that_is_closed(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(100)), timeout_write=0), (INITIAL_WINDOW_SIZE, 10))
        client.send(headers(1), headers(3))
        client.take(client.peer.eof())
        assert (client.replies[1].reset, client.replies[3].reset, client.closed) == (CANCEL, CANCEL, True)

    def test_half_closed_and_idle(self, work: Work) -> None:
        client = Http2Client(work(hello()))
        client.ask(1)
        client.peer.eof()
        assert client.closed

    def test_a_reset_while_the_response_waits(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(100_000))))
        client.send(headers(1))
        client.send(rst_stream(1) + window_update(0, 100_000))
        assert len(client.replies[1].body) == 65535
        assert client.ask(3).status == 200


class TestSending:
    def test_frames_are_as_large_as_the_client_takes(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(60_000))), (MAX_FRAME_SIZE, 1 << 20))
        client.ask(1)
        assert [len(each.payload) for each in client.heard if each.type == DATA] == [60_000]
        client = Http2Client(work(hello(bytes(60_000))))
        client.ask(1)
        assert [len(each.payload) for each in client.heard if each.type == DATA] == [16384, 16384, 16384, 10848]

    def test_windows_of_stream_and_connection(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(200_000))), (INITIAL_WINDOW_SIZE, 100_000))
        reply = client.ask(1)
        assert len(reply.body) == 65_535
        client.send(window_update(0, 1 << 20))
        assert len(reply.body) == 100_000
        client.send(window_update(1, 99_999))
        assert (len(reply.body), reply.ended) == (199_999, False)
        client.send(window_update(1, 1))
        assert (len(reply.body), reply.ended) == (200_000, True)

    def test_send_waits(self, work: Work) -> None:
        sent = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal sent
            await send(start())
            for _ in range(10):
                await send(body(bytes(30_000), more=True))
                sent += 1
            await send(body())

        client = Http2Client(work(app))
        client.send(headers(1))
        assert sent == 2
        for _ in range(20):
            client.send(window_update(0, 16_000) + window_update(1, 16_000))
        assert (sent, len(client.replies[1].body), client.replies[1].ended) == (10, 300_000, True)

    def test_change_of_the_window_in_mid_flight(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(100))), (INITIAL_WINDOW_SIZE, 10))
        reply = client.ask(1)
        client.send(settings((INITIAL_WINDOW_SIZE, 0)), window_update(1, 10))
        assert len(reply.body) == 10
        client.send(window_update(1, 5))
        assert len(reply.body) == 15
        client.send(settings((INITIAL_WINDOW_SIZE, 50)))
        assert len(reply.body) == 65
        client.send(settings((INITIAL_WINDOW_SIZE, 85)))
        assert (len(reply.body), reply.ended) == (100, True)

    def test_no_progress(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(100)), timeout_write=60.0), (INITIAL_WINDOW_SIZE, 10))
        client.send(headers(1))
        client.wire.advance(50)
        client.send(window_update(1, 1))
        client.wire.advance(50)
        client.hear()
        assert not client.replies[1].reset
        client.wire.advance(11)
        client.hear()
        assert client.replies[1].reset == CANCEL
        assert not client.closed

    def test_client_that_does_not_read(self, work: Work) -> None:
        """What waits is framed when it reads on; nothing of it is lost."""
        client = Http2Client(work(hello(bytes(1 << 20))), (INITIAL_WINDOW_SIZE, 1 << 24))
        client.send(window_update(0, 1 << 24))
        client.peer.transport.stuck = True
        client.send(headers(1), headers(3))
        assert client.peer.transport.queue < 1 << 19
        for _ in range(40):
            client.peer.transport.unstick()
            client.hear()
        assert [len(client.replies[stream].body) for stream in (1, 3)] == [1 << 20, 1 << 20]

    def test_incremental_streams_take_turns(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(100_000))), (INITIAL_WINDOW_SIZE, 1 << 20))
        client.send(*(headers(stream, [*GET, ("priority", "u=2, i")]) for stream in (1, 3, 5)))
        client.heard.clear()
        client.send(window_update(0, 6 * 16384))
        assert [each.stream for each in client.heard if each.type == DATA] == [1, 3, 5, 1, 3, 5]

    def test_others_go_one_after_the_other(self, work: Work) -> None:
        client = Http2Client(work(hello(bytes(100_000))), (INITIAL_WINDOW_SIZE, 1 << 20))
        client.send(*(headers(stream, [*GET, ("priority", "u=2")]) for stream in (1, 3, 5)))
        client.heard.clear()
        client.send(window_update(0, 150_000))
        order = [each.stream for each in client.heard if each.type == DATA]
        assert order == sorted(order)
        assert client.replies[1].ended


def test_block_in_pieces_of_one_byte(work: Work) -> None:
    client = Http2Client(work(hello()))
    talk = headers_in_pieces(1, GET, [1])
    client.send(*(talk[at : at + 1] for at in range(len(talk))))
    assert client.replies[1].body == b"hello"
