"""A request and its response: what applications see, what clients get."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from fakes.http2 import (
    CANCEL,
    DATA,
    GET,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    MAX_FRAME_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    POST,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    WINDOW_UPDATE,
    Http2Client,
    data,
    frame,
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


class TestScope:
    def seen(self, work: Work, fields: Any, extra: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        scopes: list[dict[str, Any]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scopes.append(scope)
            await respond(send)

        assert Http2Client(work(app, **options), **(extra or {})).ask(1, fields).status == 200
        return scopes[0]

    def test_all_of_it(self, work: Work) -> None:
        scope = self.seen(work, [*path("/a%20b%C3%A9?c=d%20e"), ("x-a", "b"), ("x-a", "c")])
        del scope["state"]
        assert scope == {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "2",
            "method": "GET",
            "scheme": "http",
            "path": "/a bé",
            "raw_path": b"/a%20b%C3%A9",
            "query_string": b"c=d%20e",
            "root_path": "",
            "headers": [(b"host", b"a"), (b"x-a", b"b"), (b"x-a", b"c")],
            "client": ("10.0.0.1", 1234),
            "server": ("10.0.0.2", 80),
            "extensions": {
                "fastserve.topics": {},
                "http.response.early_hint": {},
                "http.response.zerocopysend": {},
            },
        }

    def test_root_path(self, work: Work) -> None:
        scope = self.seen(work, path("/x"), root_path="/app")
        assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("/app/x", b"/app/x", "/app")

    def test_cookies_are_one_field(self, work: Work) -> None:
        scope = self.seen(work, [*GET, ("cookie", "a=1"), ("x-a", "b"), ("cookie", "c=2")])
        assert scope["headers"][1:] == [(b"cookie", b"a=1; c=2"), (b"x-a", b"b")]

    def test_host_in_place_of_authority(self, work: Work) -> None:
        assert self.seen(work, [*GET[:3], ("x-a", "b"), ("host", "h")])["headers"][0] == (b"host", b"h")

    def test_trailers_are_offered(self, work: Work) -> None:
        assert "http.response.trailers" in self.seen(work, [*GET, ("te", "trailers")])["extensions"]

    def test_asterisk(self, work: Work) -> None:
        assert self.seen(work, path("*", "OPTIONS"))["path"] == "*"

    def test_the_scheme_is_that_of_the_connection(self, work: Work, encrypted: dict[str, Any]) -> None:
        assert self.seen(work, [GET[0], (":scheme", "https"), *GET[2:]])["scheme"] == "http"
        assert self.seen(work, GET, extra=encrypted)["scheme"] == "https"

    def test_both_versions_have_templates_of_their_own(self, work: Work) -> None:
        from fakes.worker import get

        versions: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            versions.append(scope["http_version"])
            await respond(send)

        wire = work(app)
        wire.connect().feed(get())
        Http2Client(wire).ask(1)
        wire.connect().feed(get())
        assert versions == ["1.1", "2", "1.1"]


@pytest.mark.parametrize(
    ("fields", "options", "status"),
    [
        ([*GET[:3], ("host", "h"), ("host", "i")], {}, 400),
        ([*GET, ("host", "other")], {}, 400),
        (GET[:3], {}, 400),
        ([*GET, ("expect", "wonders")], {}, 417),
        (path("/", "BREW"), {}, 501),
        ([(":method", "CONNECT"), (":authority", "a:1")], {}, 501),
        (path("/" + "x" * 20), {"limit_request_line": 20}, 414),
        ([*POST, ("content-length", "6")], {"limit_request_body": 5}, 413),
        (GET, {"limit_concurrency": 1}, 503),
    ],
)
def test_refused(work: Work, fields: Any, options: dict[str, Any], status: int) -> None:
    """The stream gets an answer, and the connection goes on."""
    client = Http2Client(work(hello(), **options))
    client.send(headers(1, fields, end=fields[0][1] != "POST"))
    reply = client.replies[1]
    assert (reply.status, reply.ended) == (status, True)
    assert reply.head.get("retry-after") == ("1" if status == 503 else None)
    client.send(ping())
    assert client.heard[-1].type == PING


def test_body_over_the_limit(work: Work) -> None:
    client = Http2Client(work(echo, limit_request_body=5))
    client.send(headers(1, POST, end=False), data(1, b"12345"), data(1, b"6", end=True))
    assert (client.replies[1].status, client.replies[1].ended) == (413, True)
    assert client.ask(3, POST, b"12345").body == b"12345"


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

    @pytest.mark.parametrize("signal", ["field", "frame"])
    def test_priorities(self, work: Work, signal: str) -> None:
        """RFC 9218: of streams that wait for the connection, the most urgent goes first."""
        client = Http2Client(work(hello(bytes(40_000))), (INITIAL_WINDOW_SIZE, 1 << 20))
        for stream, value in ((1, "u=5"), (3, "u=5"), (5, "u=0")):
            fields = [*GET, ("priority", value)] if signal == "field" else GET
            client.send(headers(stream, fields))
            if signal == "frame":
                payload = stream.to_bytes(4, "big") + value.encode()
                client.send(frame(PRIORITY_UPDATE, 0, 0, payload))
        client.send(window_update(0, 45_000))
        assert client.replies[5].ended
        assert not client.replies[3].ended
        client.send(window_update(0, 1 << 20))
        assert client.replies[1].ended and client.replies[3].ended

    def test_priorities_before_their_streams(self, work: Work) -> None:
        """RFC 9218, 7: the last of them counts, before a field too; those of streams that are never opened do not."""
        client = Http2Client(work(hello(bytes(40_000))), (INITIAL_WINDOW_SIZE, 1 << 20))
        for stream, value in ((3, b"u=7"), (5, b"u=6"), (5, b"u=0"), (9, b"u=0" + b" " * 300), (7, b"u=5")):
            client.send(frame(PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + value))
        client.send(headers(1), headers(5, [*GET, ("priority", "u=7")]), headers(7), headers(9))
        for size, ended in ((20_000, [1, 5]), (40_000, [1, 5, 9]), (60_000, [1, 5, 7, 9])):
            client.send(window_update(0, size))
            assert sorted(stream for stream, reply in client.replies.items() if reply.ended) == ended
        client.send(window_update(0, 1 << 20), headers(11), frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\3u=0"))
        assert client.replies[11].ended and not client.closed

    def test_priorities_of_as_many_streams_as_there_may_be(self, work: Work) -> None:
        """Those that are not open count beside those that are (RFC 9218, 7.1)."""
        client = Http2Client(work(echo, limit_http2_streams=10))
        client.send(headers(1, POST, end=False))
        for stream in (*range(3, 21, 2), 3):
            client.send(frame(PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + b"u=1"))
        assert not client.closed
        client.send(headers(19, POST, end=False))
        client.send(*(frame(PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + b"u=1") for stream in range(21, 37, 2)))
        assert not client.closed
        client.send(frame(PRIORITY_UPDATE, 0, 0, (37).to_bytes(4, "big") + b"u=1"))
        assert client.error == PROTOCOL_ERROR

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


def test_refusals_keep_the_header_table_in_step(work: Work) -> None:
    client = Http2Client(work(hello(headers=[(b"x-a", b"b" * 50)])))
    for stream in range(1, 41, 2):
        if stream % 4 == 1:
            assert client.ask(stream).head["x-a"] == "b" * 50
        else:
            assert client.ask(stream, path("/", "BREW")).status == 501


def test_block_in_pieces_of_one_byte(work: Work) -> None:
    client = Http2Client(work(hello()))
    talk = headers_in_pieces(1, GET, [1])
    client.send(*(talk[at : at + 1] for at in range(len(talk))))
    assert client.replies[1].body == b"hello"
