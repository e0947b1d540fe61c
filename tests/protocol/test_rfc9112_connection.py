"""RFC 9112 (HTTP/1.1), section 9: persistence, pipelining, and the end of a connection."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
from typing import Any

import pytest
import support
from protocol.apps import Gate, Receive, Recorder, Scope, Send, body, echo, read, respond, start, static
from protocol.conftest import Connect, MakeNet
from protocol.wire import GOOD
from protocols import PROTOCOLS, protocol_of

from fastserve._core import testing

SEGMENTS_IN = 140  # offset of tcpi_segs_in in Linux's struct tcp_info

HTTP_1_0 = b"GET / HTTP/1.0\r\n\r\n"
KEEP_ALIVE_1_0 = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"


@pytest.fixture(params=PROTOCOLS)
def http(request: pytest.FixtureRequest) -> str:
    return protocol_of(request)


def get(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode()


async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer in two pieces without Content-Length."""
    await start(send)
    await body(send, b"a", more=True)
    await body(send, b"b")


class TestSection93Persistence:
    def test_http_1_1_persists(self, connect: Connect) -> None:
        wire = connect(static())
        for _ in range(50):
            found = wire.ask(GOOD)
            assert found.status == 200
            assert found.get(b"connection") is None

    def test_the_client_asks_to_close(self, connect: Connect) -> None:
        wire = connect(static())
        assert wire.ask(get("/", "Connection: close\r\n")).closes
        assert wire.rest() == b""

    def test_the_application_asks_to_close(self, connect: Connect) -> None:
        wire = connect(static(headers=[(b"Connection", b"Close")]))
        assert wire.ask(GOOD + GOOD).closes
        assert wire.rest() == b""

    @pytest.mark.parametrize("value", [b"close", b"Close", b"x, close", b"close, x"])
    def test_the_application_asks_to_close_in_any_form(self, connect: Connect, value: bytes) -> None:
        wire = connect(static(headers=[(b"connection", value)]))
        found = wire.ask(GOOD + GOOD)
        assert b"close" in found.all(b"connection")[0].lower()
        assert wire.rest() == b""

    def test_the_application_cannot_promise_keep_alive(self, connect: Connect) -> None:
        wire = connect(static(headers=[(b"connection", b"keep-alive")]))
        assert wire.ask(get("/", "Connection: close\r\n")).all(b"connection") == [b"close"]
        assert wire.rest() == b""

    def test_http_1_0_closes(self, connect: Connect) -> None:
        wire = connect(static())
        assert wire.ask(HTTP_1_0 + HTTP_1_0).closes
        assert wire.rest() == b""

    def test_http_1_0_with_keep_alive_persists(self, connect: Connect) -> None:
        wire = connect(static())
        for _ in range(2):
            found = wire.ask(KEEP_ALIVE_1_0)
            assert found.get(b"connection") == b"keep-alive"
            assert found.get(b"content-length") == b"2"
        assert wire.ask(HTTP_1_0).closes
        assert wire.rest() == b""

    def test_http_1_0_without_a_length_closes_in_spite_of_keep_alive(self, connect: Connect) -> None:
        wire = connect(streaming)
        found = wire.ask(KEEP_ALIVE_1_0)
        assert found.closes
        assert found.get(b"transfer-encoding") is None
        assert found.body == b"ab"

    def test_a_body_that_the_application_does_not_read(self, connect: Connect) -> None:
        wire = connect(static())
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
        assert wire.ask(request).status == 200
        assert wire.ask(GOOD).status == 200

    def test_a_body_that_comes_after_the_response(self, connect: Connect) -> None:
        wire = connect(static())
        assert wire.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n").status == 200
        assert wire.ask(b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\nxx" + GOOD).status == 200
        wire.end()
        assert wire.rest() == b""

    def test_a_wrong_body_that_comes_after_the_response(self, connect: Connect) -> None:
        wire = connect(static())
        assert wire.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").status == 200
        assert wire.send(b"x\r\n" + GOOD).rest() == b""


class TestSection932Pipelining:
    def test_slow_first_fast_second(self, connect: Connect) -> None:
        gate = Gate()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                await gate.wait()
            await respond(send, scope["path"].encode())

        wire = connect(app).send(get("/slow") + get("/fast"))
        gate.open()
        assert [wire.response().body, wire.response().body] == [b"/slow", b"/fast"]

    def test_slow_first_that_has_begun_to_answer(self, connect: Connect) -> None:
        gate = Gate()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                await start(send)
                await body(send, b"be", more=True)
                await gate.wait()
                await body(send, b"gun")
            else:
                await respond(send, b"fast")

        wire = connect(app).send(get("/slow"))
        assert gate.reached.wait(60)
        wire.send(get("/fast"))
        gate.open()
        assert [wire.response().body, wire.response().body] == [b"begun", b"fast"]

    def test_a_thousand_in_one_packet(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, scope["path"].encode())

        wire = connect(app)
        sender = threading.Thread(target=wire.send, args=(b"".join(get(f"/{n}") for n in range(1000)),))
        sender.start()
        assert [wire.response().body for _ in range(1000)] == [b"/%d" % n for n in range(1000)]
        sender.join(60)

    def test_bodies_between_them(self, connect: Connect) -> None:
        one = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
        two = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
        wire = connect(echo).send(one + two + one)
        assert [wire.response().body for _ in range(3)] == [b"one", b"two", b"one"]

    def test_the_second_starts_when_the_first_is_complete(self, net: MakeNet) -> None:
        paths: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            paths.append(scope["path"])
            if scope["path"] == "/1":
                await read(receive)
            await respond(send)

        client = net(app).connect().feed(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab")
        assert paths == ["/1"]
        client.feed(b"c" + get("/2"))
        assert paths == ["/1", "/2"]

    def test_what_is_read_ahead_is_bounded(self, net: MakeNet) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            assert (await receive())["type"] == "http.disconnect"

        client = net(app).connect().feed(get("/"))
        client.feed(*[get("/next") * 100] * 1000)
        left = sum(map(len, client.incoming))
        assert not client.transport.reading
        assert len(get("/next")) * 100_000 - left < 256 * 1024

    def test_nothing_runs_behind_an_application_that_fails(self, connect: Connect) -> None:
        calls: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            calls.append(scope["path"])
            raise ValueError("on purpose")

        wire = connect(app)
        assert wire.ask(get("/1") + get("/2")).status == 500
        assert wire.rest() == b""
        assert calls == ["/1"]


class TestSection96TearDown:
    def test_a_half_closed_client_is_answered(self, connect: Connect) -> None:
        wire = connect(static())
        assert [wire.send(GOOD + GOOD).end().response().status, wire.response().status] == [200, 200]
        assert wire.rest() == b""

    def test_a_half_closed_client_is_answered_late(self, connect: Connect) -> None:
        gate = Gate()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await read(receive)
            assert (await receive())["type"] == "http.disconnect"
            await gate.wait()
            await respond(send, b"late")

        wire = connect(app).send(GOOD).end()
        gate.open()
        assert wire.response().body == b"late"
        assert wire.rest() == b""

    @pytest.mark.parametrize("second", [get("/2"), b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"])
    def test_a_request_behind_the_one_that_heard_of_the_end_hears_of_it(self, connect: Connect, second: bytes) -> None:
        heard: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            while (message := await receive())["type"] == "http.request":
                heard.append(f"{scope['path']} {message['body'].decode()}")
            if scope["path"] == "/1":
                await respond(send, b"first")

        wire = connect(app).send(get("/1") + second).end()
        assert wire.response().body == b"first"
        wire.rest()
        assert heard == ["/1 ", "/2 " if second.startswith(b"GET") else "/2 ab"]

    def test_a_client_that_closes_between_requests(self, connect: Connect) -> None:
        wire = connect(static())
        assert wire.ask(GOOD).status == 200
        assert wire.end().rest() == b""

    def test_a_client_that_is_still_sending_gets_the_refusal(self, connect: Connect) -> None:
        wire = connect(static(), limit_request_body=1000)
        size = 8 << 20
        sender = threading.Thread(
            target=wire.send,
            args=(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size,),
        )
        sender.start()
        assert wire.response().status == 413
        assert wire.file.read() == b""  # the server's end, not a reset
        sender.join(60)
        assert not sender.is_alive()

    def test_a_client_that_is_still_sending_gets_the_answer(self, connect: Connect) -> None:
        wire = connect(static(b"x" * 1000, headers=[(b"connection", b"close")]))
        size = 8 << 20
        sender = threading.Thread(
            target=wire.send,
            args=(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size,),
        )
        sender.start()
        assert wire.response().body == b"x" * 1000
        assert wire.file.read() == b""
        sender.join(60)
        assert not sender.is_alive()

    def test_a_fault_behind_an_answered_head_does_not_reset_it(self, connect: Connect) -> None:
        wire = connect(static())
        assert wire.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n").status == 200
        assert wire.sock.recv(1, socket.MSG_PEEK) == b""
        wire.send(GOOD).send(GOOD)  # a connection that is closed altogether answers the first with a reset
        assert wire.file.read() == b""

    @pytest.mark.parametrize(
        ("request_", "headers"),
        [(GOOD, [(b"connection", b"close")]), (HTTP_1_0, [])],
        ids=["HTTP/1.1", "HTTP/1.0"],
    )
    def test_what_comes_after_the_servers_end_does_not_reset_it(
        self, connect: Connect, request_: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        wire = connect(static(headers=headers))
        assert wire.ask(request_).status == 200
        assert wire.sock.recv(1, socket.MSG_PEEK) == b""
        wire.send(GOOD).send(GOOD)  # a connection that is closed altogether answers the first with a reset
        assert wire.file.read() == b""

    def test_the_servers_end_of_a_client_that_asked_for_it(self, connect: Connect) -> None:
        wire = connect(static(b"x" * 100_000)).send(get("/", "Connection: close\r\n"))
        assert wire.response().body == b"x" * 100_000
        assert wire.file.read() == b""

    def test_what_comes_behind_its_request_while_it_is_answered_does_not_reset_it(self, connect: Connect) -> None:
        gate = Gate()
        answer = b"x" * (16 << 20)  # more than buffers hold

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, answer)
            gate.reached.set()

        wire = connect(app).send(get("/", "Connection: close\r\n"))
        assert gate.reached.wait(60)
        assert wire.send(b"\r\n").response().body == answer
        assert wire.rest() == b""

    def test_pipelined_requests_behind_a_close_do_not_reset_it(self, connect: Connect) -> None:
        recorder = Recorder()
        wire = connect(recorder).send(get("/1", "Connection: close\r\n") + get("/2") * 20_000)
        assert wire.response().status == 200
        assert wire.file.read() == b""
        assert [call.target for call in recorder.calls] == ["/1"]

    def test_a_reset_in_the_middle_of_a_response_ends_the_application(self, connect: Connect) -> None:
        failed = threading.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await start(send)
            try:
                while True:
                    await body(send, b"x" * 65536, more=True)
            except OSError:
                failed.set()
                raise

        wire = connect(app, disconnect="raise").send(GOOD)
        assert wire.file.read(100_000)
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.close()
        assert failed.wait(60)

    def test_a_response_that_breaks_off_has_no_end(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await start(send)
            await body(send, b"ab", more=True)
            raise ValueError("on purpose")

        raw = connect(app).send(GOOD + GOOD).rest()
        assert raw.endswith(b"\r\n\r\n2\r\nab\r\n")

    @pytest.mark.parametrize("request_", [GOOD, HTTP_1_0], ids=["HTTP/1.1", "HTTP/1.0"])
    def test_server_shutdown_ends_an_idle_connection(self, serve: Any, request_: bytes) -> None:
        running = serve(static())
        idle = running.connect()
        running.connect().sendall(request_)
        running.server.should_exit = True
        assert idle.recv(1) == b""


class TestSection96SlowReader:
    def test_the_last_answer_is_not_cut_off(self, serve: Any) -> None:
        """A client that still reads long after the server has begun to close gets more than the kernel holds."""
        size = 16 << 20
        advanced = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
            await send({"type": "http.response.body", "body": bytes(size)})
            clock = server.server.server_state.worker.clock
            loop = asyncio.get_running_loop()
            loop.call_soon(testing.advance, clock, 3)
            loop.call_soon(advanced.set)

        server = serve(app, access_log=False)
        sock = server.connect()
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = sock.recv(1)
        assert advanced.wait(60)
        received += support.read_all(sock)
        assert len(received.partition(b"\r\n\r\n")[2]) == size


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's struct tcp_info")
def test_the_end_of_the_connection_comes_with_the_last_bytes(serve: support.Serve) -> None:
    """The client gets three segments: of the handshake, an acknowledgement, and the response with the FIN."""
    with serve(static()).connect() as sock:
        sock.sendall(get("/", "Connection: close\r\n"))
        assert support.read_all(sock).startswith(b"HTTP/1.1 200 OK\r\n")
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGMENTS_IN + 4)
    assert int.from_bytes(info[SEGMENTS_IN:], sys.byteorder) <= 3
