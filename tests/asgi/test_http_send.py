"""The items of the ASGI checklist on send() (28 to 40)."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import struct
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import support
from asgi.gates import Gate, catch_up
from core.responses import Client, read_one, read_responses
from fakes.worker import get, hello, post, respond
from protocols import WIRES, protocol_of

Connect = Callable[..., Client]
Log = Callable[[], list[str]]
START = {"type": "http.response.start", "status": 200}
RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: close() resets the connection


@pytest.fixture(params=WIRES)
def http(request: pytest.FixtureRequest) -> str:
    return protocol_of(request)


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def sends(*messages: Any) -> Any:
    """An application that sends these."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


class TestHead:
    def test_item_28_status_and_headers_in_order(self, client: Connect) -> None:
        headers = [(b"B", b"1"), (b"a", b"2"), (b"Set-Cookie", b"c=1"), (b"set-cookie", b"d=2"), (b"b", b"3")]
        response = client(hello(b"", 299, headers)).ask(get())
        assert (response.status, response.reason) == (299, b"")
        assert response.headers[:5] == [(name.lower(), value) for name, value in headers]

    def test_item_28_headers_are_optional(self, client: Connect) -> None:
        assert client(sends(START, body(b"x"))).ask(get()).body == b"x"

    @pytest.mark.parametrize("status", [200, 201, 302, 404, 418, 500, 599])
    def test_item_28_statuses(self, client: Connect, status: int) -> None:
        assert client(hello(b"x", status)).ask(get()).status == status

    @pytest.mark.parametrize("made_by", [iter, list, tuple])
    @pytest.mark.parametrize("pair", [[b"a", b"b"], (b"a", b"b")])
    def test_item_28_any_iterable_of_pairs(self, client: Connect, made_by: Any, pair: Any) -> None:
        message = {"type": "http.response.start", "status": 200, "headers": made_by([pair])}
        assert client(sends(message, body(b""))).ask(get()).get(b"a") == b"b"

    @pytest.mark.parametrize(
        "header",
        [(b":status", b"200"), (b"a", b"1\r\nx: 1"), (b"a", b"1\nx: 1"), (b"a", b"\0"), (b"a b", b"c"), (b"", b"c"),
         (b"x\r\nb", b"c"), (b"a:", b"c"), (b"x", b"a\x0bb"), (b"x", b"\x1b[31m"), (b"x", b"a\x7f")],
    )  # fmt: skip
    def test_item_28_bad_header_is_a_500_and_nothing_leaks(
        self, serve: support.Serve, log: Log, header: tuple[bytes, bytes]
    ) -> None:
        raw = serve(hello(b"leak", 200, [(b"x-leak", b"leak"), header])).request(get())
        response = read_one(raw)
        assert (response.status, response.body) == (500, b"Internal Server Error")
        assert b"leak" not in raw
        assert log() == ["ERROR Exception in ASGI application"]

    def test_item_28_own_date_and_server_replace_the_default_ones(self, client: Connect) -> None:
        response = client(hello(b"", 200, [(b"Date", b"d"), (b"Server", b"s")])).ask(get())
        assert (response.all(b"date"), response.all(b"server")) == ([b"d"], [b"s"])

    def test_item_28_default_headers(self, client: Connect) -> None:
        connected = client(hello(), headers=[("X-Own", "1")])
        response = connected.ask(get())
        assert (response.all(b"x-own"), response.all(b"server")) == ([b"1"], [b"fastserve"])
        date = response.get(b"date")
        assert date is not None
        assert re.fullmatch(rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", date)

    def test_item_28_no_default_headers(self, client: Connect) -> None:
        response = client(hello(), server_header=False, date_header=False).ask(get())
        assert response.headers == [(b"content-length", b"5")]

    @pytest.mark.usefixtures("time_stops")
    def test_item_29_head_is_held_until_the_first_body(
        self, serve: support.Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fastserve.protocols.http.h11_impl.HELD_HEAD_SECONDS", 60)
        sent, gate = threading.Event(), Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/barrier":
                await respond(send)
                return
            await send(START)
            sent.set()
            await gate.wait()
            await send(body(b"late"))

        server = serve(app)
        connected = Client(server.connect())
        connected.send(get())
        assert sent.wait(60)
        catch_up(server)
        connected.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            connected.sock.recv(100)
        connected.sock.settimeout(60)
        gate.open()
        assert connected.read().body == b"late"

    @pytest.mark.parametrize("kind", [b"text/event-stream", b"text/plain"])
    @pytest.mark.parametrize("child", [False, True])
    def test_head_does_not_wait_for_a_body_that_waits_for_the_client(
        self, serve: support.Serve, monkeypatch: pytest.MonkeyPatch, kind: bytes, child: bool
    ) -> None:
        """Subscribe, then trigger; also where the messages are sent by a task that the application has made."""
        if kind == b"text/event-stream":  # at once, and not by that deadline
            monkeypatch.setattr("fastserve.protocols.http.h11_impl.HELD_HEAD_SECONDS", 60)
        gate = Gate()

        async def stream(send: Any) -> None:
            await send({**START, "headers": [(b"content-type", kind)]})
            await gate.wait()
            await send(body(b"event"))

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await (asyncio.create_task(stream(send)) if child else stream(send))

        connected = Client(serve(app).connect())
        connected.send(get())
        head = connected.read_until(b"\r\n\r\n")
        gate.open()
        connected.data = head + connected.data
        response = connected.read()
        assert (response.status, response.body, response.chunks) == (200, b"event", 1)
        assert connected.ask(get()).body == b"event"

    def test_a_stream_without_an_event_is_an_empty_200(self, client: Connect) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({**START, "headers": [(b"content-type", b"text/event-stream")]})
            await Gate.passed()
            raise RuntimeError("before the first event")

        connected = client(app)
        connected.send(get())
        raw = connected.rest()
        assert raw.startswith(b"HTTP/1.1 200 ")
        assert raw.endswith(b"\r\n\r\n")


class TestFraming:
    @pytest.mark.parametrize("value", [b"chunked", b"gzip, chunked", b"identity"])
    @pytest.mark.parametrize("length", [True, False])
    def test_item_30_transfer_encoding_is_ignored(self, client: Connect, value: bytes, length: bool) -> None:
        headers = [(b"Transfer-Encoding", value), *([(b"content-length", b"3")] if length else [])]
        connected = client(hello(b"abc", 200, headers))
        for _ in range(2):
            response = connected.ask(get())
            assert response.body == b"abc"
            assert response.get(b"content-length") == b"3"

    def test_item_31_chunked_without_a_length(self, client: Connect) -> None:
        connected = client(sends(START, body(b"one", True), body(b"", True), body(b"two", True), body(b"three")))
        for _ in range(2):
            response = connected.ask(get())
            assert (response.body, response.chunks) == (b"onetwothree", 3)

    def test_item_31_a_single_body_has_a_length(self, client: Connect) -> None:
        response = client(sends(START, body(b"one"))).ask(get())
        assert (response.get(b"content-length"), response.get(b"transfer-encoding")) == (b"3", None)

    def test_item_31_own_length_is_not_chunked(self, client: Connect) -> None:
        connected = client(sends(start((b"Content-Length", b"6")), body(b"one", True), body(b"two")))
        for _ in range(2):
            response = connected.ask(get())
            assert (response.body, response.chunks, response.get(b"content-length")) == (b"onetwo", 0, b"6")

    @pytest.mark.parametrize("message", [{"type": "http.response.body"}, {"type": "http.response.body", "body": b""}])
    def test_item_32_defaults(self, client: Connect, message: Any) -> None:
        connected = client(sends(START, message))
        for _ in range(2):
            response = connected.ask(get())
            assert (response.body, response.get(b"content-length")) == (b"", b"0")

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_item_32_kinds_of_bytes(self, client: Connect, kind: Any) -> None:
        assert client(sends(START, body(kind(b"a"), True), body(kind(b"b")))).ask(get()).body == b"ab"

    @pytest.mark.parametrize("size", [1, 1000, 16383, 16384, 65536, 1 << 20, 3 << 20])
    @pytest.mark.parametrize("more", [True, False])
    def test_item_32_sizes(self, client: Connect, size: int, more: bool) -> None:
        data = bytes(range(256)) * (size // 256) + b"e" * (size % 256)
        connected = client(sends(START, *([body(data, True), body(b"x")] if more else [body(data)])))
        for _ in range(2):
            assert connected.ask(get()).body == data + b"x" * more

    def test_item_32_a_body_that_changes_after_send(self, client: Connect) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            data = bytearray(b"x" * 100000)
            await send(start((b"content-length", b"200000")))
            for _ in range(2):
                await send(body(data, True))  # type: ignore[arg-type]
                data[:] = b"y" * 100000
            await send(body(b""))

        assert client(app).ask(get()).body == b"x" * 100000 + b"y" * 100000

    def test_item_33_each_piece_arrives_before_the_next_is_made(self, client: Connect) -> None:
        gates = [Gate() for _ in range(5)]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            for number, gate in enumerate(gates):
                await send(body(b"piece %d" % number, True))
                await gate.wait()
            await send(body(b""))

        connected = client(app)
        connected.send(get())
        for number, gate in enumerate(gates):
            connected.read_until(b"piece %d\r\n" % number)
            gate.open()
        connected.read_until(b"0\r\n\r\n")

    @pytest.mark.parametrize(
        ("messages", "where"),
        [
            ([body(b"toolong")], "longer"),
            ([body(b"to", True), body(b"olong", True), body(b"")], "longer"),
            ([body(b"s")], "shorter"),
            ([body(b"s", True), body(b"")], "shorter"),
            ([body(b"")], "shorter"),
        ],
    )
    def test_item_39_body_of_another_length(
        self, serve: support.Serve, log: Log, caplog: pytest.LogCaptureFixture, messages: list[Any], where: str
    ) -> None:
        server = serve(sends(start((b"content-length", b"5"), (b"x", b"y")), *messages))
        raw = server.request(get() + get())
        if len(messages) == 1:
            assert read_one(raw).status == 500
        else:
            head, _, data = raw.partition(b"\r\n\r\n")
            assert b"content-length: 5" in head
            assert len(data) < 5
        assert log() == ["ERROR Exception in ASGI application"]
        assert f"Response content {where} than Content-Length" in caplog.text

    def test_item_39_two_lengths(self, client: Connect) -> None:
        headers = [(b"content-length", b"2")]
        assert client(hello(b"ab", 200, headers * 2)).ask(get()).all(b"content-length") == [b"2"]

    @pytest.mark.parametrize("value", [b"x", b"-1", b"", b"1, 1", b"99999999999999999999"])
    def test_item_39_lengths_that_are_none(self, serve: support.Serve, log: Log, value: bytes) -> None:
        assert read_one(serve(hello(b"", 200, [(b"content-length", value)])).request(get())).status == 500
        assert log() == ["ERROR Exception in ASGI application"]


class TestEnd:
    def test_item_34_messages_after_the_last_raise(self, client: Connect) -> None:
        errors: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await respond(send, b"all")
            for message in (START, body(b"more"), body(b"more", True)):
                with pytest.raises(RuntimeError) as caught:
                    await send(message)
                errors.append(str(caught.value))

        connected = client(app)
        for _ in range(2):
            assert connected.ask(get()).body == b"all"
        assert errors[:1] == ["Unexpected ASGI message 'http.response.start' sent, after response already completed."]
        assert all("http.response.body" in error for error in errors[1:3])

    def test_item_34_logged_where_it_is_not_caught(self, client: Connect, log: Log) -> None:
        connected = client(sends(START, body(b"all"), body(b"more")))
        for _ in range(2):
            assert connected.ask(get()).body == b"all"
        connected.close()
        assert log()[:1] == ["ERROR Exception in ASGI application"]

    def test_item_34_background_work_after_the_last_send(self, client: Connect) -> None:
        gate, done, third = Gate(), threading.Event(), threading.Event()
        finished: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await respond(send, scope["path"].encode())
            if scope["path"] == "/1":
                await gate.wait()
            finished.append(scope["path"])
            done.set()
            if scope["path"] == "/3":
                third.set()

        connected = client(app)
        for number in range(1, 4):
            assert connected.ask(get(f"/{number}")).body == b"/%d" % number
        assert third.wait(60)
        assert finished == ["/2", "/3"]
        done.clear()
        gate.open()
        assert done.wait(60)
        assert finished == ["/2", "/3", "/1"]

    def test_item_40_connection_close_closes(self, client: Connect) -> None:
        connected = client(hello(b"x", 200, [(b"connection", b"close")]))
        connected.send(get() + get())
        response = connected.read()
        assert (response.body, response.all(b"connection")) == (b"x", [b"close"])
        assert connected.at_end()


class TestNoBody:
    @pytest.mark.parametrize("headers", [[], [(b"content-length", b"5")]])
    @pytest.mark.parametrize("messages", [[body(b"hello")], [body(b"he", True), body(b"llo")], [body(b"")]])
    def test_item_37_head(self, client: Connect, headers: Any, messages: list[Any]) -> None:
        connected = client(sends(start(*headers), *messages))
        for _ in range(2):
            connected.send(get(method="HEAD"))
            response = connected.read("HEAD")
            assert response.status == 200
            assert response.get(b"content-length") in ([b"5"] if headers else [None, b"5"])
        if headers and messages[0]["body"] == b"":
            return
        assert connected.ask(get()).body == b"hello" if messages[0]["body"] else True

    @pytest.mark.parametrize("status", [204, 304])
    @pytest.mark.parametrize("headers", [[], [(b"content-length", b"5")]])
    @pytest.mark.parametrize("messages", [[body(b"hello")], [body(b"he", True), body(b"llo")], [body(b"")]])
    def test_item_37_204_and_304(self, client: Connect, status: int, headers: Any, messages: list[Any]) -> None:
        connected = client(sends(start(*headers, status=status), *messages))
        for _ in range(3):
            response = connected.ask(get())
            assert response.status == status
            assert response.get(b"transfer-encoding") is None
            assert response.get(b"content-length") == (b"5" if headers and status == 304 else None)

    @pytest.mark.parametrize("headers", [[], [(b"content-length", b"5")]])
    @pytest.mark.parametrize("messages", [[body(b"hello")], [body(b"he", True), body(b"llo")]])
    def test_item_37_205_is_empty(self, client: Connect, headers: Any, messages: list[Any]) -> None:
        connected = client(sends(start(*headers, status=205), *messages))
        for response in (connected.ask(get()), connected.ask(get())):
            assert (response.status, response.all(b"content-length"), response.body) == (205, [b"0"], b"")

    def test_item_37_1xx_is_no_final_response(self, client: Connect) -> None:
        connected = client(sends(start((b"content-length", b"0"), status=103), body(b"")))
        connected.send(get())
        response = connected.read()
        assert (response.status, response.body) == (500, b"Internal Server Error")
        assert connected.at_end()


class TestHttp10:
    def test_item_38_never_chunked(self, serve: support.Serve) -> None:
        raw = serve(sends(START, body(b"one", True), body(b"two"))).request(get(version="1.0"))
        head, _, data = raw.partition(b"\r\n\r\n")
        assert data == b"onetwo"
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head

    def test_item_38_keep_alive_with_a_length(self, client: Connect) -> None:
        connected = client(hello(b"hello"))
        for _ in range(3):
            response = connected.ask(get("/", "Connection: keep-alive", version="1.0"))
            assert (response.body, response.get(b"connection")) == (b"hello", b"keep-alive")
        assert connected.ask(get(version="1.0")).get(b"connection") == b"close"
        assert connected.at_end()

    def test_item_38_keep_alive_without_a_length_closes(self, serve: support.Serve) -> None:
        raw = serve(sends(START, body(b"one", True), body(b"two"))).request(
            get("/", "Connection: keep-alive", version="1.0")
        )
        (response,) = read_responses(raw)
        assert (response.body, response.get(b"connection")) == (b"onetwo", b"close")


class TestFlow:
    """send() waits while the client does not read, and raises when it is gone."""

    @pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
    @pytest.mark.parametrize("size", [1000, 50000])
    def test_item_33_send_waits_while_the_client_does_not_read(
        self, serve: support.Serve, loop: str, size: int
    ) -> None:
        sent = 0
        pieces = (64 << 20) // size

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal sent
            if scope["path"] == "/sent":
                await respond(send, str(sent).encode())
                return
            await send(start((b"content-length", b"%d" % (pieces * size))))
            for _ in range(pieces):
                await send(body(bytes(size), True))
                sent += size
            await send(body(b""))

        server = serve(app, loop=loop, timeout_keep_alive=support.PATIENCE)  # for the client that asks now and then
        connected, other = Client(server.connect()), Client(server.connect())
        connected.send(get())
        connected.read_until(b"\r\n\r\n")
        before, now = -1, 0
        while now != before:  # until asking does not find more
            before, now = now, int(other.ask(get("/sent")).body)
        assert 0 < sent < 32 << 20
        received = len(connected.data)
        while received < pieces * size:
            more = connected.sock.recv(1 << 20)
            assert more
            received += len(more)
        assert received == pieces * size
        assert int(other.ask(get("/sent")).body) == pieces * size

    @pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_item_36_send_raises_when_the_client_is_gone(
        self, serve: support.Serve, log: Log, loop: str, how: str
    ) -> None:
        errors: list[Any] = []
        done = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            try:
                while True:
                    await send(body(b"x" * 1000, True))
                    await asyncio.sleep(0)
            except OSError as error:
                errors.append(type(error).__name__)
                for _ in range(2):
                    with pytest.raises(OSError, match="gone"):
                        await send(body(b"x", True))
                done.set()
                raise

        server = serve(app, loop=loop, disconnect="raise")
        connected = Client(server.connect())
        connected.send(get())
        connected.read_until(b"x\r\n")
        if how == "reset":
            connected.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connected.close()
        assert done.wait(60)
        server.stop()
        assert errors == ["ClientDisconnected"]
        assert log() == []

    def test_item_36_a_send_that_waits_raises(self, serve: support.Serve, log: Log) -> None:
        errors: list[str] = []
        done = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/barrier":
                await respond(send)
                return
            await send(START)
            try:
                await send(body(bytes(64 << 20), True))
                await send(body(bytes(64 << 20), True))
            except OSError as error:
                errors.append(type(error).__name__)
                raise
            finally:
                done.set()

        server = serve(app, disconnect="raise")
        connected = Client(server.connect())
        connected.send(get())
        connected.read_until(b"\0" * 1000)
        Client(server.connect()).ask(get("/barrier"))  # the call that has sent these waits by then
        connected.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connected.close()
        assert done.wait(60)
        server.stop()
        assert errors == ["ClientDisconnected"]
        assert log() == []

    def test_item_36_start_after_the_client_is_gone(self, serve: support.Serve, log: Log) -> None:
        errors: list[str] = []
        begun, done, gate = threading.Event(), threading.Event(), Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/barrier":
                await respond(send)
                return
            begun.set()
            await gate.wait()
            try:
                await respond(send)
            except OSError as error:
                errors.append(type(error).__name__)
                raise
            finally:
                done.set()

        server = serve(app, disconnect="raise")
        connected = Client(server.connect())
        connected.send(post(b"x"))
        assert begun.wait(60)
        connected.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connected.close()
        catch_up(server)
        gate.open()
        assert done.wait(60)
        server.stop()
        assert errors == ["ClientDisconnected"]
        assert log() == []


@pytest.mark.parametrize("which", ["send", "receive"])
def test_item_33_a_call_that_nobody_awaits_warns(client: Connect, which: str) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if which == "send":
                send(START)
            else:
                receive()
            gc.collect()
        seen.extend(str(each.message) for each in caught)
        await respond(send)

    assert client(app).ask(get()).body == b"ok"
    assert seen == [f"coroutine '{which}' was never awaited"]
