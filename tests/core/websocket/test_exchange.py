"""The exchange of a WebSocket in the terms of ASGI: what send() takes and receive() gives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import BINARY, TEXT, binary, frame, text
from fakes.websocket_streams import StreamPeer
from fakes.worker import FakeWorker
from protocol.wire import Response
from ws import ACCEPT, Script, close, closing, read_frames, split_response, upgrade

from fastserve._core.errors import ClientDisconnected, SentAfterClose

Work = Callable[..., FakeWorker]
CONNECT = {"type": "websocket.connect"}


def answer(work: Work, app: Any, *fields: str, **settings: Any) -> tuple[FakeWorker, Response]:
    """The response to a handshake."""
    wire = work(app, **settings)
    found, _ = split_response(wire.connect().feed(upgrade("/", *fields)))
    return wire, found


def accepting(**message: Any) -> Any:
    """An application that accepts with this."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == CONNECT
        await send({"type": "websocket.accept", **message})
        await receive()

    return app


def sending(*messages: dict[str, Any]) -> Any:
    """An application that sends these and ends."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


@pytest.fixture(params=["1.1", "2"])
def work(request: pytest.FixtureRequest, work: Work) -> Work:
    """The same for clients that come by each version of HTTP."""

    def make(app: Any, **options: Any) -> FakeWorker:
        wire = work(app, **options)
        if request.param == "2":
            wire.make_peer = StreamPeer
        return wire

    return make


class TestAccept:
    @pytest.mark.parametrize("work", ["1.1"], indirect=True)
    def test_head(self, work: Work) -> None:
        _, found = answer(work, accepting(), default_headers=[(b"x-own", b"1")])
        assert (found.status, found.reason) == (101, b"Switching Protocols")
        assert found.get(b"upgrade") == b"websocket"
        assert found.get(b"connection") == b"Upgrade"
        assert found.get(b"sec-websocket-accept") == ACCEPT
        assert found.get(b"server") == b"fastserve"
        assert found.get(b"date") is not None
        assert found.get(b"x-own") == b"1"
        for name in (b"content-length", b"transfer-encoding", b"sec-websocket-protocol", b"sec-websocket-extensions"):
            assert found.get(name) is None

    def test_headers(self, work: Work) -> None:
        fields = [(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"server", b"mine"), (b"content-length", b"3")]
        _, found = answer(work, accepting(headers=fields))
        assert found.all(b"set-cookie") == [b"a=1", b"b=2"]
        assert found.get(b"server") == b"mine"
        assert found.get(b"content-length") is None

    def test_subprotocol(self, work: Work) -> None:
        _, found = answer(
            work, accepting(subprotocol="b"), "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol:\tc"
        )
        assert found.get(b"sec-websocket-protocol") == b"b"

    @pytest.mark.parametrize("subprotocol", [None, ""])
    def test_no_subprotocol(self, work: Work, subprotocol: str | None) -> None:
        _, found = answer(work, accepting(subprotocol=subprotocol), "Sec-WebSocket-Protocol: a")
        assert found.get(b"sec-websocket-protocol") is None

    @pytest.mark.parametrize(
        ("message", "error"),
        [
            ({"subprotocol": "c "}, ValueError),
            ({"subprotocol": "c\n"}, ValueError),
            ({"subprotocol": "\xe4"}, ValueError),
            ({"subprotocol": b"a"}, TypeError),
            ({"headers": [(b"x", b"1\r\ny: 2")]}, ValueError),
            ({"headers": [(b"x", b"\0")]}, ValueError),
            ({"headers": [(b"x", b"\x1b[31m")]}, ValueError),
            ({"headers": [(b"x", b"1\x7f")]}, ValueError),
            ({"headers": [(b"x y", b"1")]}, ValueError),
            ({"headers": [("x", b"1")]}, TypeError),
            ({"headers": [("upgrade", b"a")]}, TypeError),
            ({"headers": [(b"x", "1")]}, TypeError),
            ({"headers": 5}, TypeError),
        ],
    )
    def test_what_cannot_be_accepted_with(self, work: Work, message: Any, error: type[Exception]) -> None:
        """The error is send()'s, nothing has been written, and accepting once more is possible."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            with pytest.raises(error):
                await send({"type": "websocket.accept", **message})
            await send({"type": "websocket.accept", "headers": [(b"x", b"second")]})
            await receive()

        wire, found = answer(work, app, "Sec-WebSocket-Protocol: a")
        assert (found.status, found.all(b"x")) == (101, [b"second"])
        assert wire.errors == []

    def test_unknown_keys_are_ignored(self, work: Work) -> None:
        assert answer(work, accepting(later=1))[1].status == 101

    def test_log(self, work: Work) -> None:
        wire = work(accepting())
        peer = wire.connect()
        peer.feed(upgrade("/a%20b/%C3%A4?q=1"))
        peer.feed(close())
        assert wire.messages == [
            '10.0.0.1:1234 - "WebSocket /a%20b/%C3%A4?q=1" [accepted]',
            "connection open",
            "connection closed",
        ]


class TestDeny:
    def test_close(self, work: Work) -> None:
        wire, found = answer(work, sending({"type": "websocket.close", "code": 4000}))
        assert (found.status, found.body, found.closes) == (403, b"Forbidden", True)
        assert found.get(b"server") == b"fastserve"
        assert wire.messages == ['10.0.0.1:1234 - "WebSocket /" 403', "connection rejected (403 Forbidden)"]

    @pytest.mark.parametrize("work", ["1.1"], indirect=True)
    def test_response(self, work: Work) -> None:
        body: dict[str, Any] = {"type": "websocket.http.response.body"}
        start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Basic")]}
        wire, found = answer(work, sending(start, {**body, "body": b"who ", "more_body": True}, {**body, "body": b"?"}))
        assert (found.status, found.body, found.closes) == (401, b"who ?", True)
        assert found.get(b"www-authenticate") == b"Basic"
        assert found.get(b"transfer-encoding") == b"chunked"
        assert wire.messages == ['10.0.0.1:1234 - "WebSocket /" 401', "connection rejected (401 Unauthorized)"]

    @pytest.mark.parametrize("status", [100, 101, 103, 199])
    def test_not_by_an_interim_response(self, work: Work, status: int) -> None:
        wire, found = answer(work, sending({"type": "websocket.http.response.start", "status": status}))
        assert found.status == 500
        error = wire.errors[0]
        assert f"ValueError: cannot deny a handshake with {status}" in f"{type(error).__name__}: {error}"

    def test_what_the_client_sent_behind_the_handshake_is_no_request(self, work: Work) -> None:
        wire = work(sending({"type": "websocket.close"}))
        found, rest = split_response(wire.connect().feed(upgrade() + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert (found.status, rest) == (403, [])
        assert wire.worker.total_requests == 1

    @pytest.mark.parametrize(
        "first",
        [
            [{"type": "websocket.close"}],
            [
                {"type": "websocket.http.response.start", "status": 404},
                {"type": "websocket.http.response.body"},
            ],
        ],
    )
    def test_nothing_follows(self, work: Work, first: list[Any]) -> None:
        got: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            got.append(await receive())
            for message in first:
                await send(message)
            got.append(await receive())
            for message in ("websocket.accept", "websocket.send", "websocket.http.response.start"):
                with pytest.raises(RuntimeError, match="after the handshake was denied"):
                    await send({"type": message})

        wire, _ = answer(work, app)
        assert got == [CONNECT, {"type": "websocket.disconnect", "code": 1006, "reason": ""}]
        assert wire.errors == []

    @pytest.mark.parametrize("kind", ["websocket.accept", "websocket.close", "websocket.http.response.start"])
    def test_a_denial_that_has_begun_goes_on(self, work: Work, kind: str) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.http.response.start", "status": 404})
            with pytest.raises(RuntimeError, match=r"Expected ASGI message 'websocket\.http\.response\.body'"):
                await send({"type": kind, "status": 404})
            await send({"type": "websocket.http.response.body", "body": b"no"})

        wire, found = answer(work, app)
        assert (found.status, found.body) == (404, b"no")
        assert wire.errors == []

    @pytest.mark.parametrize("kind", ["websocket.send", "http.response.start", "websocket.http.response.body", "x"])
    def test_other_messages(self, work: Work, kind: str) -> None:
        wire, found = answer(work, sending({"type": kind, "text": "x", "status": 200}))
        assert found.status == 500
        assert "Expected ASGI message 'websocket.accept'" in str(wire.errors[0])


class TestEnd:
    """The application ends before the WebSocket does."""

    @pytest.mark.parametrize("start", [[], [{"type": "websocket.http.response.start", "status": 404}]])
    def test_before_the_handshake_is_answered(self, work: Work, start: list[Any]) -> None:
        wire, found = answer(work, sending(*start))
        what = "response" if start else "handshake"
        assert (found.status, found.body) == (500, b"Internal Server Error")
        assert f"ASGI callable returned without completing {what}." in wire.messages

    def test_it_raises_before(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise KeyError("mine")

        wire, found = answer(work, app)
        assert found.status == 500
        assert wire.messages == [
            "Exception in ASGI application\n",
            '10.0.0.1:1234 - "WebSocket /" 500',
            "connection rejected (500 Internal Server Error)",
        ]

    @pytest.mark.parametrize("fails", [False, True])
    def test_while_open(self, work: Work, fails: bool) -> None:
        async def body(receive: Any, send: Any) -> None:
            if fails:
                raise KeyError("mine")

        wire = work(Script(body))
        _, frames = split_response(wire.connect().feed(upgrade()))
        assert frames == [closing(1011)]
        assert [str(error) for error in wire.errors] == ["'mine'"] * fails

    def test_it_returns_something(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> int:
            await send({"type": "websocket.close"})
            return 5

        assert "ASGI callable should return None, but returned '5'." in answer(work, app)[0].messages

    def test_it_goes_on_after_the_client_has_gone(self, work: Work) -> None:
        async def body(receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.send", "text": "late"})

        app = Script(body)
        wire = work(app)
        peer = wire.connect()
        peer.feed(upgrade())
        peer.feed(close())
        assert isinstance(app.error, ClientDisconnected)
        assert wire.errors == []  # that is how such an application ends

    def test_starlette_s_way_to_say_so_is_no_error(self, work: Work) -> None:
        class WebSocketDisconnect(Exception):
            pass

        async def body(receive: Any, send: Any) -> None:
            await receive()
            raise WebSocketDisconnect

        wire = work(Script(body))
        peer = wire.connect()
        peer.feed(upgrade())
        peer.feed(close())
        assert wire.errors == []

    def test_it_is_cancelled(self, work: Work) -> None:
        wire = work(Script())
        peer = wire.connect()
        peer.feed(upgrade())
        wire.call(next(iter(wire.worker.tasks)).cancel)
        assert read_frames(peer.take()) == [closing(1011)]
        assert [type(error) for error in wire.errors] == [asyncio.CancelledError]


class TestSend:
    @staticmethod
    def sent(work: Work, *messages: Any) -> tuple[list[Any], list[Any]]:
        """What the client gets of these messages, and the errors of those that cannot be sent."""
        errors: list[Any] = []

        async def body(receive: Any, send: Any) -> None:
            for message in messages:
                try:
                    await send(message)
                except Exception as exc:
                    errors.append(type(exc))
            await receive()

        _, frames = split_response(work(Script(body)).connect().feed(upgrade()))
        return frames, errors

    def test_kinds(self, work: Work) -> None:
        message = {"type": "websocket.send"}
        frames, errors = self.sent(
            work,
            {**message, "text": "a", "bytes": None},
            {**message, "bytes": b"b", "text": None},
            {**message, "bytes": bytearray(b"c"), "more": 1},
            {**message, "bytes": memoryview(b"d")},
            {**message, "text": ""},
            {**message, "bytes": b""},
        )
        assert errors == []
        assert frames == [(TEXT, b"a"), (BINARY, b"b"), (BINARY, b"c"), (BINARY, b"d"), (TEXT, b""), (BINARY, b"")]

    @pytest.mark.parametrize(
        ("message", "error"),
        [
            ({"text": b"a"}, TypeError),
            ({"bytes": "a"}, TypeError),
            ({"bytes": 5}, TypeError),
            ({"text": "\ud800"}, UnicodeEncodeError),
            ({"type": "websocket.accept"}, RuntimeError),
            ({"type": "http.response.body"}, RuntimeError),
            ({"type": "websocket.close", "code": 1005}, ValueError),
            ({"type": "websocket.close", "code": 999}, ValueError),
            ({"type": "websocket.close", "code": "1000"}, TypeError),
            ({"type": "websocket.close", "code": None, "reason": "x"}, TypeError),
            ({"type": "websocket.close", "reason": 5}, TypeError),
            ({"type": "websocket.close", "reason": "x" * 124}, ValueError),
            ({"type": "websocket.close", "reason": "ä" * 62}, ValueError),
        ],
    )
    def test_what_cannot_be_sent(self, work: Work, message: Any, error: type[Exception]) -> None:
        """The WebSocket stays open."""
        last = {"type": "websocket.send", "text": "on"}
        assert self.sent(work, {"type": "websocket.send", **message}, last) == ([(TEXT, b"on")], [error])

    @pytest.mark.parametrize("reason", [None, "", "x" * 123, "ä" * 61])
    def test_close(self, work: Work, reason: str | None) -> None:
        frames, errors = self.sent(
            work,
            {"type": "websocket.close", "code": 3000, "reason": reason},
            {"type": "websocket.send", "text": "late"},
            {"type": "websocket.close"},
        )
        assert frames == [closing(3000, reason or "")]
        assert errors == [SentAfterClose] * 2
        assert issubclass(SentAfterClose, ClientDisconnected) and issubclass(ClientDisconnected, OSError)

    def test_close_has_a_default(self, work: Work) -> None:
        assert self.sent(work, {"type": "websocket.close"}) == ([closing(1000)], [])


class TestReceive:
    def test_two_calls_at_once(self, work: Work) -> None:
        got: list[Any] = []

        async def body(receive: Any, send: Any) -> None:
            got.extend(await asyncio.gather(receive(), receive()))

        peer = work(Script(body)).connect()
        peer.feed(upgrade())
        peer.feed(text("1"))
        assert got == []
        peer.feed(binary(b"2"))
        assert sorted(map(str, got)) == sorted(
            map(str, [{"type": "websocket.receive", "text": "1"}, {"type": "websocket.receive", "bytes": b"2"}])
        )

    def test_a_call_that_is_given_up_loses_nothing(self, work: Work) -> None:
        """asyncio.wait_for() and its kind cancel receive(): the message is for the next call."""
        got: list[Any] = []

        async def body(receive: Any, send: Any) -> None:
            for _ in range(3):
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(receive(), 0)
                waiting = asyncio.ensure_future(receive())
                await asyncio.sleep(0)
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting
            got.append(await receive())
            got.append(await receive())

        peer = work(Script(body)).connect()
        peer.feed(upgrade())
        peer.wire.turn(50)
        peer.feed(text("1") + text("2"))
        assert [each["text"] for each in got] == ["1", "2"]

    def test_from_another_task(self, work: Work) -> None:
        got: list[Any] = []

        async def body(receive: Any, send: Any) -> None:
            for _ in range(3):
                got.append(await asyncio.create_task(receive()))
                got.append(await receive())

        peer = work(Script(body)).connect()
        peer.feed(upgrade())
        for number in range(6):
            peer.feed(text(str(number)))
        assert [each["text"] for each in got] == list("012345")

    def test_a_message_in_many_frames_is_one(self, work: Work) -> None:
        app = Script()
        peer = work(app).connect()
        peer.feed(upgrade())
        peer.feed(frame(TEXT, b"a") + frame(0, b"b"))
        assert app.got == []
        peer.feed(frame(0x80, b"c"))
        assert app.got == [{"type": "websocket.receive", "text": "abc"}]

    def test_disconnect_comes_as_often_as_it_is_asked_for(self, work: Work) -> None:
        async def body(receive: Any, send: Any) -> None:
            for _ in range(3):
                await receive()

        app = Script(body)
        peer = work(app).connect()
        peer.feed(upgrade())
        peer.feed(close(1001, "off"))
        assert app.got == [{"type": "websocket.disconnect", "code": 1001, "reason": "off"}] * 3

    def test_the_client_goes_before_it_is_accepted(self, work: Work) -> None:
        got: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            got.append(await receive())
            got.append(await receive())
            await send({"type": "websocket.accept"})

        wire = work(app)
        peer = wire.connect()
        peer.feed(upgrade())
        assert got == [CONNECT]
        peer.lose()
        assert got == [CONNECT, {"type": "websocket.disconnect", "code": 1006, "reason": ""}]
        assert wire.messages == []

    def test_the_client_ends_its_side_before_it_is_accepted(self, work: Work) -> None:
        errors: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            assert (await receive())["code"] == 1006
            try:
                await send({"type": "websocket.accept"})
            except ClientDisconnected as exc:
                errors.append(exc)

        wire = work(app)
        peer = wire.connect()
        peer.feed(upgrade())
        peer.eof()
        assert len(errors) == 1
        assert peer.ended


def test_requests_are_counted(work: Work) -> None:
    wire = work(Script())
    for _ in range(2):
        wire.connect().feed(upgrade())
    assert wire.worker.total_requests == 2
    assert wire.worker.active == 2
    assert len(wire.worker.tasks) == 2


def test_limit_concurrency(work: Work) -> None:
    wire = work(Script(), limit_concurrency=2)
    wire.connect().feed(upgrade())
    found, _ = split_response(wire.connect().feed(upgrade("/x")))
    assert (found.status, found.get(b"retry-after")) == (503, b"1")
    assert wire.messages[-3:] == [
        "Exceeded concurrency limit.",
        '10.0.0.1:1234 - "WebSocket /x" 503',
        "connection rejected (503 Service Unavailable)",
    ]
