"""The items of the ASGI checklist on receive() (24 to 27)."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
import support
from asgi.gates import Gate, catch_up, push
from core.responses import Client, read_one
from fakes.worker import chunked, get, post, read_body, respond
from protocols import WIRES, protocol_of

Connect = Callable[..., Client]
Log = Callable[[], list[str]]
DISCONNECT = {"type": "http.disconnect"}
RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: close() resets the connection


@pytest.fixture(params=WIRES)
def http(request: pytest.FixtureRequest) -> str:
    return protocol_of(request)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, await read_body(receive))


class TestBody:
    def test_item_24_chunked_bodies_are_decoded(self, client: Connect) -> None:
        connected = client(echo)
        pieces = [b"a", b"bc" * 5000, b"\r\n0\r\n\r\n", b"\0" * 70000]
        assert connected.ask(chunked(pieces)).body == b"".join(pieces)
        assert connected.ask(chunked([])).body == b""
        assert connected.ask(get()).body == b""

    def test_item_24_chunk_by_chunk(self, client: Connect) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            more = True
            while more:
                message = await receive()
                more = message["more_body"]
                await send({"type": "http.response.body", "body": message["body"], "more_body": more})

        connected = client(app)
        connected.send(get("/", "Transfer-Encoding: chunked", method="POST"))
        for piece in (b"one", b"two", b"three"):
            connected.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            connected.read_until(b"%x\r\n%b\r\n" % (len(piece), piece))
        connected.send(b"0\r\n\r\n")
        connected.read_until(b"0\r\n\r\n")

    @pytest.mark.parametrize("request_bytes", [get(), get(method="POST"), post(b""), get(method="HEAD")])
    def test_item_25_no_body_is_one_event(self, client: Connect, request_bytes: bytes) -> None:
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(await receive())
            await respond(send)

        connected = client(app)
        connected.send(request_bytes)
        connected.read("HEAD" if request_bytes.startswith(b"HEAD") else "GET")
        assert seen == [{"type": "http.request", "body": b"", "more_body": False}]

    def test_item_25_more_body(self, client: Connect) -> None:
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while not seen or seen[-1]["more_body"]:
                seen.append(await receive())
            await respond(send)

        connected = client(app)
        connected.ask(post(b"x" * 300000))
        assert {message["type"] for message in seen} == {"http.request"}
        assert b"".join(message["body"] for message in seen) == b"x" * 300000
        assert [message["more_body"] for message in seen] == [True] * (len(seen) - 1) + [False]
        assert {type(message["body"]) for message in seen} == {bytes}

    @pytest.mark.parametrize("size", [1, 1000, 65535, 65536, 65537, 1 << 20, 5 << 20])
    def test_item_25_sizes(self, serve: support.Serve, size: int) -> None:
        status, _, body = serve(echo).fetch(method="POST", body=bytes(size))
        assert (status, body) == (200, bytes(size))

    def test_item_25_reading_stops_while_the_application_does_not_take_the_body(self, serve: support.Serve) -> None:
        """The client's send blocks: what is accepted is bounded by buffers, not by the body's size."""
        gate = Gate()
        total = 64 << 20
        taken: list[int] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/barrier":
                await respond(send)
                return
            await gate.wait()
            message: Any = {"more_body": True}
            while message["more_body"]:
                message = await receive()
                taken.append(len(message["body"]))
            await respond(send, str(sum(taken)).encode())

        server = serve(app)
        connected, other = Client(server.connect()), Client(server.connect())
        connected.send(get("/", f"Content-Length: {total}", method="POST"))
        accepted = push(connected.sock, lambda: other.ask(get("/barrier")), total)
        assert accepted < total / 2
        gate.open()
        connected.send(bytes(total - accepted))
        assert connected.read().body == str(total).encode()
        # All that was held in the process comes with the first message.
        assert taken[0] < 1 << 20

    def test_item_25_application_that_never_reads(self, serve: support.Serve) -> None:
        gate = Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] != "/barrier":
                await gate.wait()
            await respond(send)

        server = serve(app)
        connected, other = Client(server.connect()), Client(server.connect())
        connected.send(get("/", f"Content-Length: {1 << 40}", method="POST"))
        assert push(connected.sock, lambda: other.ask(get("/barrier")), 1 << 27) < 1 << 26
        gate.open()
        assert connected.read().status == 200


class TestDisconnect:
    def test_item_26_after_the_response_as_often_as_asked(self, serve: support.Serve) -> None:
        seen: list[Any] = []
        done = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await respond(send)
            seen.extend([await receive(), await receive(), await receive()])
            done.set()

        Client(serve(app).connect()).ask(post(b"unread"))
        assert done.wait(60)
        assert seen == [DISCONNECT] * 3

    @pytest.mark.parametrize("how", ["close", "reset"])
    @pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
    def test_item_26_when_the_client_goes_away(self, serve: support.Serve, log: Log, how: str, loop: str) -> None:
        seen: list[Any] = []
        waiting, done = threading.Event(), threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert (await receive())["type"] == "http.request"
            waiting.set()
            seen.extend([await receive(), await receive(), await receive()])
            done.set()

        server = serve(app, loop=loop)
        connected = Client(server.connect())
        connected.send(get())
        assert waiting.wait(60)
        if how == "reset":
            connected.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connected.close()
        assert done.wait(60)
        assert seen == [DISCONNECT] * 3
        server.stop()
        assert log() == []

    def test_item_26_in_the_middle_of_a_body(self, serve: support.Serve) -> None:
        seen: list[Any] = []
        begun, done = threading.Event(), threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while not seen or seen[-1] != DISCONNECT:
                seen.append(await receive())
                begun.set()
            done.set()

        connected = Client(serve(app).connect())
        connected.send(get("/", "Content-Length: 10", method="POST") + b"part")
        assert begun.wait(60)
        connected.close()
        assert done.wait(60)
        assert seen == [{"type": "http.request", "body": b"part", "more_body": True}, DISCONNECT]

    def test_item_26_body_that_has_come_is_given_first(self, serve: support.Serve) -> None:
        seen: list[Any] = []
        begun, done, gate = threading.Event(), threading.Event(), Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/barrier":
                await respond(send)
                return
            begun.set()
            await gate.wait()
            seen.extend([await receive(), await receive()])
            done.set()

        server = serve(app)
        connected = Client(server.connect())
        connected.send(post(b"all of it"))
        assert begun.wait(60)
        connected.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connected.close()
        catch_up(server)
        assert len(server.server.server_state.connections) == 1
        gate.open()
        assert done.wait(60)
        assert seen == [{"type": "http.request", "body": b"all of it", "more_body": False}, DISCONNECT]

    def test_item_26_receive_waits_between_body_and_disconnect(self, serve: support.Serve) -> None:
        order: list[str] = []
        waiting, done = threading.Event(), threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            task = asyncio.create_task(receive())
            for _ in range(5):
                await asyncio.sleep(0)
            order.append("waiting" if not task.done() else "done")
            waiting.set()
            order.append((await task)["type"])
            done.set()

        connected = Client(serve(app).connect())
        connected.send(get())
        assert waiting.wait(60)
        connected.close()
        assert done.wait(60)
        assert order == ["waiting", "http.disconnect"]


class TestCalls:
    """receive() as libraries use it: in tasks, with timeouts, several at once."""

    def test_item_26_concurrent_calls_of_which_one_is_cancelled(self, client: Connect) -> None:
        results: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            first = await receive()
            tasks = [asyncio.ensure_future(receive()) for _ in range(3)]
            await asyncio.sleep(0)
            tasks[1].cancel()
            await asyncio.sleep(0)
            results.append([task.done() for task in tasks])
            await respond(send, first["body"])
            results.append([(await task)["type"] for task in (tasks[0], tasks[2])])

        connected = client(app)
        assert connected.ask(post(b"x")).body == b"x"
        assert connected.ask(get()).body == b""
        assert results[:2] == [[False, True, False], ["http.disconnect"] * 2]

    def test_item_25_calls_are_served_in_their_order(self, client: Connect) -> None:
        waiting = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            calls = [asyncio.ensure_future(receive()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting.set()
            done, rest = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            await respond(send, repr([call in done for call in calls]).encode())
            await asyncio.gather(*rest)

        connected = client(app)
        connected.send(get("/", "Content-Length: 5", method="POST"))
        assert waiting.wait(60)
        connected.send(b"hello")
        assert connected.read().body == b"[True, False, False]"

    def test_item_25_cancelled_call_loses_no_body(self, client: Connect) -> None:
        started = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            task = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(receive(), 0.001)
            started.set()
            await respond(send, await read_body(receive))

        connected = client(app)
        connected.send(get("/", "Content-Length: 5", method="POST"))
        assert started.wait(60)
        connected.send(b"hello")
        assert connected.read().body == b"hello"

    def test_item_26_create_task(self, client: Connect) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            task: asyncio.Task[Any] = asyncio.create_task(receive())
            message = await task
            await asyncio.gather(send({"type": "http.response.start", "status": 200}))
            await asyncio.gather(
                send({"type": "http.response.body", "body": message["body"], "more_body": True}),
                send({"type": "http.response.body", "body": b"b", "more_body": True}),
                send({"type": "http.response.body", "body": b"c"}),
            )

        assert client(app).ask(post(b"a")).body == b"abc"

    def test_item_26_wait_for(self, client: Connect) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            message = await asyncio.wait_for(receive(), 5)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(receive(), 0.001)
            await asyncio.wait_for(respond(send, message["body"]), 5)

        assert client(app).ask(post(b"a")).body == b"a"

    def test_item_26_wait(self, client: Connect) -> None:
        """sse-starlette and others wait for a disconnect beside their work."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            gone = asyncio.ensure_future(receive())
            work = asyncio.ensure_future(asyncio.sleep(0, b"work"))
            done, pending = await asyncio.wait([gone, work], return_when=asyncio.FIRST_COMPLETED)
            assert (done, pending) == ({work}, {gone})
            gone.cancel()
            await respond(send, work.result())

        assert client(app).ask(get()).body == b"work"


class TestContinue:
    REQUEST = get("/", "Content-Length: 5", "Expect: 100-continue", method="POST")

    def test_item_27_100_before_the_body_is_read(self, client: Connect) -> None:
        connected = client(echo)
        connected.send(self.REQUEST)
        assert connected.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connected.send(b"hello")
        assert connected.read().body == b"hello"
        assert connected.ask(post(b"next")).body == b"next"

    def test_item_27_not_if_the_response_went_first(self, serve: support.Serve) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await respond(send, b"no", 413)

        response = read_one(serve(app).request(self.REQUEST))
        assert (response.status, response.get(b"connection")) == (413, b"close")

    def test_item_27_not_before_the_application_asks(self, serve: support.Serve) -> None:
        entered, gate = threading.Event(), Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] != "/barrier":
                entered.set()
                await gate.wait()
            await echo(scope, receive, send)

        server = serve(app)
        connected = Client(server.connect())
        connected.send(self.REQUEST)
        assert entered.wait(60)
        catch_up(server)
        connected.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            connected.sock.recv(100)
        connected.sock.settimeout(60)
        gate.open()
        connected.read_until(b"100 Continue\r\n\r\n")
        connected.send(b"hello")
        assert connected.read().body == b"hello"

    def test_item_27_once(self, client: Connect) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            done, rest = await asyncio.wait(
                [asyncio.ensure_future(receive()) for _ in range(3)], return_when=asyncio.FIRST_COMPLETED
            )
            for call in rest:
                call.cancel()
            await respond(send, done.pop().result()["body"])

        connected = client(app)
        connected.send(self.REQUEST)
        assert connected.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connected.send(b"hello")
        assert connected.read().body == b"hello"
