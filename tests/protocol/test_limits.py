"""The limits of a request and the deadlines of a connection: each at its value and one past it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from fakes.net import Client
from protocol.apps import Gate, Receive, Recorder, Scope, Send, body, echo, read, respond, start, static
from protocol.conftest import Connect, MakeNet
from protocol.wire import GOOD, Response, responses
from protocols import PROTOCOLS, protocol_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture(params=PROTOCOLS)
def http(request: pytest.FixtureRequest) -> str:
    return protocol_of(request)


def only(client: Client) -> Response:
    (found,) = responses(client.output)
    return found


def line(size: int) -> bytes:
    """Return a request whose line has this many bytes, without its CRLF."""
    return b"GET /" + b"x" * (size - len("GET / HTTP/1.1")) + b" HTTP/1.1\r\nHost: a\r\n\r\n"


def head(size: int) -> bytes:
    """Return a request whose head has this many bytes, with the empty line."""
    start_of_it = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    return start_of_it + b"y" * (size - len(start_of_it) - 4) + b"\r\n\r\n"


def fields(count: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * (count - 1) + b"\r\n"


@pytest.mark.parametrize(
    ("limits", "request_of", "limit", "status"),
    [
        ({"limit_request_line": 100}, line, 100, 414),
        ({}, line, 16384, 414),
        ({"limit_request_head": 200}, head, 200, 431),
        ({}, head, 65536, 431),
        ({"limit_request_fields": 5}, fields, 5, 431),
        ({}, fields, 128, 431),
    ],
    ids=["line", "line by default", "head", "head by default", "fields", "fields by default"],
)
class TestHead:
    def test_at_the_limit(self, connect: Connect, limits: Any, request_of: Any, limit: int, status: int) -> None:
        assert connect(static(), **limits).ask(request_of(limit)).status == 200

    def test_one_past_it(self, connect: Connect, limits: Any, request_of: Any, limit: int, status: int) -> None:
        recorder = Recorder()
        wire = connect(recorder, **limits)
        found = wire.ask(request_of(limit + 1) + GOOD)
        assert (found.status, found.closes) == (status, True)
        assert wire.rest() == b""
        assert recorder.calls == []

    def test_in_two_packets(self, net: MakeNet, limits: Any, request_of: Any, limit: int, status: int) -> None:
        made = net(static(), **limits)
        for size, expected in ((limit, 200), (limit + 1, status)):
            data = request_of(size)
            for at in (*range(1, min(30, len(data))), *range(len(data) - 30, len(data))):
                assert only(made.connect().feed(data[:at], data[at:])).status == expected, f"{size} bytes cut at {at}"


def test_a_request_line_without_an_end(connect: Connect) -> None:
    wire = connect(static())
    assert wire.ask(b"GET /" + b"x" * (1 << 20)).status == 414


def test_a_field_without_an_end(connect: Connect) -> None:
    wire = connect(static())
    assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * (1 << 20)).status == 431


def test_empty_lines_without_an_end(net: MakeNet) -> None:
    client = net(static()).connect().feed(*[b"\r\n" * 1000] * 100)
    assert client.server_closed


def test_the_name_of_an_endless_field_is_counted(net: MakeNet) -> None:
    assert only(net(static()).connect().feed(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X" * 70_000)).status == 431


class TestBody:
    def test_content_length_at_the_limit(self, connect: Connect) -> None:
        wire = connect(echo, limit_request_body=10)
        assert wire.ask(POST + b"Content-Length: 10\r\n\r\n" + b"x" * 10).body == b"x" * 10

    def test_content_length_one_past_it_is_refused_before_a_byte_is_read(self, connect: Connect) -> None:
        recorder = Recorder()
        wire = connect(recorder, limit_request_body=10)
        found = wire.ask(POST + b"Content-Length: 11\r\n\r\n")
        assert (found.status, found.closes) == (413, True)
        assert wire.rest() == b""
        assert recorder.calls == []

    def test_chunked_at_the_limit(self, connect: Connect) -> None:
        wire = connect(echo, limit_request_body=10)
        data = b"9\r\nxxxxxxxxx\r\n1\r\ny\r\n0\r\n\r\n"
        assert wire.ask(POST + b"Transfer-Encoding: chunked\r\n\r\n" + data).body == b"x" * 9 + b"y"

    def test_chunked_one_past_it(self, connect: Connect) -> None:
        recorder = Recorder()
        wire = connect(recorder, limit_request_body=10)
        data = b"9\r\nxxxxxxxxx\r\n2\r\nyy\r\n0\r\n\r\n"
        found = wire.ask(POST + b"Transfer-Encoding: chunked\r\n\r\n" + data + GOOD)
        assert (found.status, found.closes) == (413, True)
        assert wire.rest() == b""
        assert [call.complete for call in recorder.calls] == [False]

    def test_chunked_as_soon_as_it_is_passed(self, net: MakeNet) -> None:
        client = net(echo, limit_request_body=10).connect()
        client.feed(POST + b"Transfer-Encoding: chunked\r\n\r\n100\r\n", b"x" * 10)
        assert client.output == b""
        assert only(client.feed(b"x")).status == 413
        assert client.server_closed

    def test_each_request_has_a_limit_of_its_own(self, net: MakeNet) -> None:
        data = POST + b"Content-Length: 10\r\n\r\n" + b"x" * 10
        assert [
            each.status for each in responses(net(echo, limit_request_body=10).connect().feed(data * 3).output)
        ] == [200] * 3


@pytest.mark.parametrize(
    ("request_bytes", "status", "options"),
    [(b"GET / HT", 408, {"timeout_request_head": 0.05}), (b"GET / HTTP/1.1\r\n\r\n", 400, {})],
)
def test_who_broke_the_rules_is_said_at_debug_level_alone(
    connect: Connect, caplog: pytest.LogCaptureFixture, request_bytes: bytes, status: int, options: dict[str, Any]
) -> None:
    caplog.set_level("DEBUG", logger="fastserve")
    wire = connect(static(), **options)
    host, port = wire.sock.getsockname()
    assert wire.ask(request_bytes).status == status
    (line,) = [record for record in caplog.records if f"{host}:{port}" in record.getMessage()]
    assert line.levelname == "DEBUG"


class TestRequestHeadTimeout:
    @pytest.mark.parametrize("start_of_it", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
    def test_408(self, connect: Connect, start_of_it: bytes) -> None:
        found = connect(static(), timeout_request_head=0.05).send(start_of_it)
        answer = found.response()
        assert (answer.status, answer.body, answer.closes) == (408, b"Request Timeout", True)
        assert found.rest() == b""

    def test_the_deadline_counts_from_the_first_byte(self, net: MakeNet) -> None:
        made = net(static(), timeout_request_head=30)
        client = made.connect()
        for byte in GOOD[:29]:
            client.feed(bytes([byte]))
            made.advance(1)
        assert client.output == b""
        made.advance(1.5)
        assert only(client).status == 408

    def test_a_head_in_time(self, net: MakeNet) -> None:
        made = net(static(), timeout_request_head=30)
        client = made.connect().feed(GOOD[:5])
        made.advance(29)
        assert only(client.feed(GOOD[5:])).status == 200

    def test_the_second_request_as_well(self, net: MakeNet) -> None:
        made = net(static(), timeout_request_head=30)
        client = made.connect().feed(GOOD + b"GET")
        made.advance(31)
        assert [each.status for each in responses(client.output)] == [200, 408]
        assert client.server_closed

    def test_behind_a_head_request_it_has_its_body(self, connect: Connect) -> None:
        wire = connect(static(), timeout_request_head=0.05).send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET")
        assert wire.response("HEAD").status == 200
        answer = wire.response()
        assert (answer.status, answer.body) == (408, b"Request Timeout")

    def test_a_silent_connection_is_closed_without_a_word(self, connect: Connect) -> None:
        assert connect(static(), timeout_request_head=0.05).rest() == b""

    def test_a_silent_connection_before_that(self, net: MakeNet) -> None:
        made = net(static(), timeout_request_head=30)
        client = made.connect()
        made.advance(29)
        assert not client.server_closed
        made.advance(2)
        assert client.gone and client.output == b""

    def test_none(self, net: MakeNet) -> None:
        made = net(static(), timeout_request_head=0)
        client = made.connect().feed(b"G")
        made.advance(10_000)
        assert not client.server_closed


class TestRequestBodyTimeout:
    def test_the_application_sees_a_disconnect(self, connect: Connect) -> None:
        gate = Gate()
        seen: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(await receive())
            seen.append(await receive())
            gate.reached.set()

        wire = connect(app, timeout_request_body=0.05)
        assert b"HTTP/1.1 2" not in wire.send(POST + b"Content-Length: 5\r\n\r\nab").rest()
        assert gate.reached.wait(60)
        assert seen == [{"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.disconnect"}]

    def test_a_byte_in_time_starts_it_again(self, net: MakeNet) -> None:
        made = net(echo, timeout_request_body=60)
        client = made.connect().feed(POST + b"Content-Length: 5\r\n\r\n")
        for byte in b"hell":
            made.advance(59)
            client.feed(bytes([byte]))
        made.advance(59)
        assert only(client.feed(b"o")).body == b"hello"

    def test_it_does_not_run_while_the_application_does_not_wait(self, net: MakeNet) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate
            await respond(send, await read(receive) or b"")

        made = net(app, timeout_request_body=60)
        gate = made.loop.create_future()
        client = made.connect().feed(POST + b"Content-Length: 2\r\n\r\n")
        made.advance(1000)
        assert not client.server_closed
        gate.set_result(None)
        made.loop.run_ready()
        assert only(client.feed(b"hi")).body == b"hi"

    def test_it_runs_on_while_the_application_waits_again_and_again(self, connect: Connect) -> None:
        gate = Gate()
        seen: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            while not seen:
                with contextlib.suppress(asyncio.TimeoutError):
                    seen.append(await asyncio.wait_for(receive(), 0.02))
            gate.reached.set()

        assert connect(app, timeout_request_body=0.1).send(POST + b"Content-Length: 5\r\n\r\n").rest() == b""
        assert gate.reached.wait(60)
        assert seen == [{"type": "http.disconnect"}]

    def test_an_application_that_does_not_wait_any_more_can_answer(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(receive(), 0.01)
            loop = asyncio.get_running_loop()
            passed = loop.create_future()
            loop.call_later(0.15, passed.set_result, None)  # after the deadline, which is on the same clock
            await passed
            await respond(send, b"late")

        wire = connect(app, timeout_request_body=0.05).send(POST + b"Content-Length: 5\r\n\r\n")
        assert wire.response().body == b"late"


class TestKeepAliveTimeout:
    def test_an_idle_connection_is_closed(self, connect: Connect) -> None:
        wire = connect(static(), timeout_keep_alive=0.05)
        assert wire.ask(GOOD).status == 200
        assert wire.rest() == b""

    def test_it_starts_again_with_each_response(self, net: MakeNet) -> None:
        made = net(static(), timeout_keep_alive=5)
        client = made.connect()
        for _ in range(5):
            client.feed(GOOD)
            made.advance(4)
        assert not client.server_closed
        made.advance(2)
        assert client.gone

    def test_it_does_not_run_during_an_exchange(self, net: MakeNet) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate
            await respond(send)

        made = net(app, timeout_keep_alive=5)
        gate = made.loop.create_future()
        client = made.connect().feed(GOOD)
        made.advance(1000)
        gate.set_result(None)
        made.loop.run_ready()
        assert only(client).status == 200


class TestWriteTimeout:
    def test_send_waits_and_what_is_held_is_bounded(self, net: MakeNet) -> None:
        sent: list[int] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await start(send)
            for number in range(1000):
                await body(send, b"x" * 10_000, more=True)
                sent.append(number)
            await body(send)

        client = net(app).connect()
        client.transport.blocked = True
        client.feed(GOOD)
        assert len(sent) < 100
        assert len(client.transport.queue) < 512 * 1024
        client.transport.unblock()
        client.net.loop.run_ready()
        assert only(client).body == b"x" * 10_000_000

    def test_without_progress_the_connection_is_closed(self, net: MakeNet) -> None:
        ended: list[BaseException] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await start(send)
            try:
                while True:
                    await body(send, b"x" * 10_000, more=True)
            except OSError as exc:
                ended.append(exc)
                raise

        made = net(app, timeout_write=60, raise_disconnect=True)
        client = made.connect()
        client.transport.blocked = True
        client.feed(GOOD)
        made.advance(59)
        assert not client.server_closed and not ended
        made.advance(2)
        assert client.gone
        assert [type(each).__name__ for each in ended] == ["ClientDisconnected"]
        assert made.errors == []

    def test_progress_starts_it_again(self, net: MakeNet) -> None:
        made = net(static(b"x" * 1_000_000), timeout_write=60, timeout_keep_alive=0)
        client = made.connect()
        client.transport.blocked = True
        client.feed(GOOD)
        for _ in range(5):
            made.advance(59)
            del client.transport.queue[:1000]
            made.advance(2)
            assert not client.gone
        made.advance(61)
        assert client.gone

    def test_over_a_real_socket(self, connect: Connect) -> None:
        gate = Gate()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await start(send)
            try:
                while True:
                    await body(send, b"x" * 65536, more=True)
            except OSError:
                gate.reached.set()
                raise

        connect(app, timeout_write=0.05, disconnect="raise").send(GOOD)
        assert gate.reached.wait(60)


class TestConcurrency:
    def test_503_at_the_limit(self, connect: Connect) -> None:
        wire = connect(static(), limit_concurrency=2)
        assert wire.ask(GOOD).status == 200
        found = connect().ask(GOOD)
        assert (found.status, found.get(b"retry-after"), found.closes) == (503, b"1", True)
        assert found.body == b"Service Unavailable"

    def test_a_web_socket_as_well(self, connect: Connect) -> None:
        connect(static(), limit_concurrency=1)
        upgrade = (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        found = connect().ask(upgrade)
        assert (found.status, found.get(b"retry-after")) == (503, b"1")

    def test_below_it_again(self, net: MakeNet) -> None:
        made = net(static(), limit_concurrency=2)
        first, second = made.connect(), made.connect()
        assert only(second.feed(GOOD)).status == 503
        second.eof()
        assert only(first.feed(GOOD)).status == 200

    def test_nothing_runs_behind_it(self, net: MakeNet) -> None:
        recorder = Recorder()
        client = net(recorder, limit_concurrency=1).connect().feed(GOOD + GOOD)
        assert only(client).status == 503
        assert recorder.calls == []
