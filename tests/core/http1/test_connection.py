"""The state machine of an HTTP/1 connection: bytes in, writes out, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from core.responses import read_one, read_responses
from fakes.worker import FakeWorker, Peer, chunked, get, hello, post, read_body, respond

Work = Callable[..., FakeWorker]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, scope["path"].encode() + b":" + await read_body(receive))


class Steps:
    """An application whose exchanges each wait for a future of their own."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self.paths: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future
        await respond(send, scope["path"].encode())


class TestRequests:
    def test_one_read_one_write(self, work: Work) -> None:
        peer = work(hello(b"hi")).connect()
        peer.put(get())
        peer.wire.settle()
        assert len(peer.transport.writes) == 1
        assert read_one(peer.take()).body == b"hi"
        assert peer.transport.calls == []

    def test_a_request_in_single_bytes(self, work: Work) -> None:
        peer = work(echo).connect()
        request = post(b"abc", path="/p")
        answers = [peer.feed(request[at : at + 1]) for at in range(len(request))]
        assert answers[:-1] == [b""] * (len(request) - 1)
        assert read_one(answers[-1]).body == b"/p:abc"

    def test_keep_alive(self, work: Work) -> None:
        peer = work(echo).connect()
        for number in range(5):
            assert read_one(peer.feed(post(b"%d" % number))).body == b"/:%d" % number
        assert not peer.transport.closed

    def test_chunked_with_extensions_and_trailers(self, work: Work) -> None:
        peer = work(echo).connect()
        head = get("/c", "Transfer-Encoding: chunked", method="POST")
        answer = peer.feed(head + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n" + get("/next"))
        assert [each.body for each in read_responses(answer)] == [b"/c:abcde", b"/next:"]

    def test_pipelined_requests_are_answered_in_order(self, work: Work) -> None:
        steps = Steps()
        wire = work(steps)
        peer = wire.connect()
        assert peer.feed(get("/1") + get("/2") + get("/3")) == b""
        assert steps.paths == ["/1"]
        for number in range(3):
            wire.call(steps.waiting[number].set_result, None)
        assert [each.body for each in read_responses(peer.take())] == [b"/1", b"/2", b"/3"]

    def test_read_ahead_is_bounded(self, work: Work) -> None:
        steps = Steps()
        wire = work(steps)
        peer = wire.connect()
        peer.feed(get("/1"))
        taken = 0
        many = get("/x") * 100
        while peer.transport.reading and taken < 10 * 65536:
            peer.feed(many)
            taken += len(many)
        assert taken < 65536 + 2 * len(many)
        wire.call(steps.waiting[0].set_result, None)
        assert read_one(peer.take()).body == b"/1"
        assert steps.paths == ["/1", "/x"]

    def test_a_body_that_nobody_reads_is_skipped(self, work: Work) -> None:
        peer = work(hello()).connect()
        answer = peer.feed(post(b"x" * 1000) + get())
        assert len(read_responses(answer)) == 2
        assert not peer.transport.closed

    def test_a_long_body_that_nobody_reads_ends_the_connection(self, work: Work) -> None:
        peer = work(hello()).connect()
        response = read_one(peer.feed(get("/", f"Content-Length: {4 << 20}", method="POST")))
        assert (response.status, response.get(b"connection")) == (200, b"close")
        assert peer.transport.calls == ["write_eof"]
        peer.feed(b"x" * 65536)
        assert not peer.transport.closed
        peer.wire.advance(6)
        assert peer.transport.closed

    def test_nothing_is_parsed_after_a_close(self, work: Work) -> None:
        paths: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            paths.append(scope["path"])
            await respond(send)

        peer = work(app).connect()
        answer = peer.feed(get("/1", "Connection: close") + get("/2"))
        assert read_one(answer).get(b"connection") == b"close"
        peer.feed(get("/3"))
        assert paths == ["/1"]


class TestPersistence:
    @pytest.mark.parametrize(
        ("request_bytes", "connection", "closes"),
        [
            (get(), None, False),
            (get("/", "Connection: close"), b"close", True),
            (get("/", "Connection: keep-alive"), None, False),
            (get(version="1.0"), b"close", True),
            (get("/", "Connection: keep-alive", version="1.0"), b"keep-alive", False),
            (get("/", "Connection: Close, foo"), b"close", True),
        ],
    )
    def test_connection_field(self, work: Work, request_bytes: bytes, connection: bytes | None, closes: bool) -> None:
        peer = work(hello()).connect()
        response = read_one(peer.feed(request_bytes))
        assert response.get(b"connection") == connection
        assert response.body == b"hello"
        assert peer.ended is closes
        peer.eof()
        assert peer.transport.closed

    def test_application_closes(self, work: Work) -> None:
        peer = work(hello(headers=[(b"Connection", b"Close")])).connect()
        assert read_one(peer.feed(get())).all(b"connection") == [b"close"]
        assert peer.transport.calls == ["write_eof"]

    def test_the_server_closes_once_the_client_has(self, work: Work) -> None:
        """Until then what the client still sends is read: a close with unread input would lose it the response."""
        peer = work(hello()).connect()
        peer.feed(get("/", "Connection: close"))
        assert peer.feed(get("/more")) == b""
        assert peer.transport.calls == ["write_eof"]
        peer.eof()
        assert peer.transport.closed
        assert peer.wire.worker.total_requests == 1

    def test_the_server_closes_after_a_while(self, work: Work) -> None:
        peer = work(hello()).connect()
        peer.feed(get("/", "Connection: close"))
        peer.wire.advance(4)
        assert peer.transport.calls == ["write_eof"]
        peer.wire.advance(2)
        assert peer.transport.calls == ["write_eof", "abort"]

    def test_half_closed_client_is_answered(self, work: Work) -> None:
        steps = Steps()
        wire = work(steps)
        peer = wire.connect()
        peer.feed(get("/1"))
        peer.eof()
        assert not peer.transport.closed
        wire.call(steps.waiting[0].set_result, None)
        assert read_one(peer.take()).body == b"/1"
        assert peer.transport.closed

    def test_half_close_behind_pipelined_requests(self, work: Work) -> None:
        steps = Steps()
        wire = work(steps)
        peer = wire.connect()
        peer.feed(get("/1") + get("/2"))
        peer.eof()
        wire.call(steps.waiting[0].set_result, None)
        wire.call(steps.waiting[1].set_result, None)
        assert [each.body for each in read_responses(peer.take())] == [b"/1", b"/2"]
        assert peer.transport.closed

    @pytest.mark.parametrize("second", [get("/2"), chunked([b"ab"])[:-2]])
    def test_a_request_that_begins_after_the_half_close_is_told_of_it(self, work: Work, second: bytes) -> None:
        firsts: list[asyncio.Future[None]] = []
        told: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/1":
                firsts.append(asyncio.get_running_loop().create_future())
                await firsts[0]
                await respond(send, b"first")
                return
            while (message := await receive())["type"] == "http.request":
                told.append((message["body"], message["more_body"]))
            told.append(message)

        wire = work(app)
        peer = wire.connect()
        peer.feed(get("/1") + second)
        peer.eof()
        wire.call(firsts[0].set_result, None)
        assert told[:-1] == ([(b"", False)] if second.startswith(b"GET") else [(b"ab", True)])
        assert told[-1] == {"type": "http.disconnect"}
        assert peer.transport.closed

    @pytest.mark.parametrize("beside", [False, True])
    def test_the_end_of_a_body_and_of_the_connection_together(self, work: Work, beside: bool) -> None:
        """An application that waits has the end of the body first, though it goes on only after both."""
        told: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            told.append(await (asyncio.ensure_future(receive()) if beside else receive()))
            told.append(await receive())
            await respond(send, b"all")

        peer = work(app).connect()
        peer.feed(get("/", "Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n")
        peer.put(b"0\r\n\r\n")
        assert read_one(peer.eof()).body == b"all"
        assert told == [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

    def test_half_close_without_a_request(self, work: Work) -> None:
        peer = work(hello()).connect()
        assert peer.eof() == b""
        assert peer.transport.closed

    def test_half_close_within_a_head(self, work: Work) -> None:
        wire = work(hello())
        peer = wire.connect()
        peer.feed(b"GET / HT")
        assert peer.eof() == b""
        assert peer.transport.closed

    def test_drain_closes_an_idle_connection(self, work: Work) -> None:
        wire = work(hello())
        fresh, used = wire.connect(), wire.connect()
        used.feed(get())
        wire.call(wire.worker.drain)
        assert fresh.transport.closed
        assert used.transport.closed

    def test_drain_lets_a_busy_one_finish(self, work: Work) -> None:
        steps = Steps()
        wire = work(steps)
        peer = wire.connect()
        peer.feed(get("/1") + get("/2"))
        wire.call(wire.worker.drain)
        assert not peer.transport.closed
        wire.call(steps.waiting[0].set_result, None)
        response = read_one(peer.take())
        assert (response.body, response.get(b"connection")) == (b"/1", b"close")
        assert steps.paths == ["/1"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"NOPE / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
            (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
            (get("/" + "a" * 20000), 414),
            (get("/", "A: " + "a" * 70000), 431),
            (get("/", "Expect: 200-ok"), 417),
            (get("/", "Content-Length: 1", "Transfer-Encoding: chunked", method="POST"), 400),
        ],
    )
    def test_answer(self, work: Work, data: bytes, status: int) -> None:
        wire = work(hello())
        peer = wire.connect()
        response = read_one(peer.feed(data + get()))
        assert response.status == status
        assert response.get(b"connection") == b"close"
        assert response.get(b"content-type") == b"text/plain; charset=utf-8"
        assert response.body == response.reason
        assert wire.messages == ["Invalid HTTP request received."]
        assert wire.worker.total_requests == 0

    def test_good_requests_before_a_bad_one_are_answered(self, work: Work) -> None:
        peer = work(hello()).connect()
        answer = read_responses(peer.feed(get() + get() + b"GET\r\n\r\n" + get()))
        assert [each.status for each in answer] == [200, 200, 400]

    @pytest.mark.parametrize("together", [True, False])
    def test_a_bad_body(self, work: Work, together: bool) -> None:
        seen: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while True:
                message = await receive()
                seen.append(message["type"])
                if message["type"] == "http.disconnect":
                    return

        wire = work(app)
        peer = wire.connect()
        head = get("/", "Transfer-Encoding: chunked", method="POST")
        answer = peer.feed(head + b"zz\r\n") if together else peer.feed(head) + peer.feed(b"zz\r\n")
        assert read_one(answer).status == 400
        assert seen == ["http.disconnect"]
        assert wire.messages == ["Invalid HTTP request received."]

    def test_body_over_the_limit_by_its_length(self, work: Work) -> None:
        wire = work(echo, limit_request_body=10)
        assert read_one(wire.connect().feed(post(b"x" * 10))).status == 200
        assert read_one(wire.connect().feed(post(b"x" * 11))).status == 413
        assert wire.worker.total_requests == 1

    def test_body_over_the_limit_as_it_comes(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        wire = work(app, limit_request_body=10)
        assert read_one(wire.connect().feed(chunked([b"x" * 6, b"x" * 6]))).status == 413

    def test_limit_concurrency(self, work: Work) -> None:
        wire = work(hello(), limit_concurrency=2)
        first = wire.connect()
        assert read_one(first.feed(get())).status == 200
        second = wire.connect()
        response = read_one(second.feed(get()))
        assert (response.status, response.get(b"retry-after")) == (503, b"1")
        assert second.ended
        second.eof()
        assert read_one(first.feed(get())).status == 200
        assert wire.messages == ["Exceeded concurrency limit."]


class TestDeadlines:
    def test_head(self, work: Work) -> None:
        peer = work(hello(), timeout_request_head=30).connect()
        peer.feed(b"GET / HT")
        peer.wire.advance(29)
        assert peer.take() == b""
        peer.wire.advance(2)
        assert read_one(peer.take()).status == 408

    def test_a_head_that_dribbles_has_one_deadline(self, work: Work) -> None:
        peer = work(hello(), timeout_request_head=30).connect()
        answer = b""
        for byte in b"GET / HTTP/1.1":
            answer += peer.feed(bytes([byte]))
            peer.wire.advance(2.5)
        assert read_one(answer + peer.take()).status == 408

    def test_silence_on_a_new_connection(self, work: Work) -> None:
        peer = work(hello(), timeout_request_head=30).connect()
        peer.wire.advance(29)
        assert peer.transport.calls == []
        peer.wire.advance(2)
        assert peer.transport.calls == ["close"]
        assert peer.take() == b""

    def test_keep_alive(self, work: Work) -> None:
        peer = work(hello(), timeout_keep_alive=5).connect()
        peer.feed(get())
        peer.wire.advance(4)
        peer.feed(get())
        peer.wire.advance(4)
        assert peer.transport.calls == []
        peer.wire.advance(2)
        assert peer.transport.calls == ["close"]

    def test_body_that_the_application_waits_for(self, work: Work) -> None:
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(await receive())

        peer = work(app, timeout_request_body=60).connect()
        peer.feed(get("/", "Content-Length: 5", method="POST"))
        peer.wire.advance(59)
        assert seen == []
        peer.wire.advance(2)
        assert seen == [{"type": "http.disconnect"}]
        assert peer.transport.closed

    def test_none_while_the_application_works(self, work: Work) -> None:
        steps = Steps()
        wire = work(steps)
        peer = wire.connect()
        peer.feed(get("/1"))
        wire.advance(10000)
        wire.call(steps.waiting[0].set_result, None)
        assert read_one(peer.take()).body == b"/1"

    def test_zero_is_none(self, work: Work) -> None:
        wire = work(hello(), timeout_keep_alive=0, timeout_request_head=0)
        peer, silent = wire.connect(), wire.connect()
        peer.feed(get())
        wire.advance(1e6)
        assert not peer.transport.closed
        assert not silent.transport.closed


class TestExpectContinue:
    def test_100_at_the_first_receive(self, work: Work) -> None:
        peer = work(echo).connect()
        assert peer.feed(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST")) == (
            b"HTTP/1.1 100 Continue\r\n\r\n"
        )
        assert read_one(peer.feed(b"ab")).body == b"/:ab"

    def test_none_where_the_response_went_first(self, work: Work) -> None:
        peer = work(hello()).connect()
        response = read_one(peer.feed(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST")))
        assert (response.status, response.get(b"connection")) == (200, b"close")

    def test_it_does_not_depend_on_how_the_bytes_came(self, work: Work) -> None:
        peer = work(echo).connect()
        answers = read_responses(peer.feed(post(b"ab", "Expect: 100-continue")))
        assert [each.status for each in answers] == [100, 200]

    def test_100_goes_before_a_head_that_is_held(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": await read_body(receive)})

        peer = work(app).connect()
        assert peer.feed(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST")) == (
            b"HTTP/1.1 100 Continue\r\n\r\n"
        )
        assert read_one(peer.feed(b"ab")).body == b"ab"

    def test_none_to_http_1_0(self, work: Work) -> None:
        peer = work(echo).connect()
        request = get("/", "Content-Length: 2", "Expect: 100-continue", method="POST", version="1.0")
        assert peer.feed(request) == b""
        assert read_one(peer.feed(b"ab")).body == b"/:ab"


class TestReadAhead:
    def test_reading_goes_on_only_when_little_is_left(self, work: Work) -> None:
        """However many requests a client pipelines, a bounded number of bytes waits here."""
        steps = Steps()
        wire = work(steps)
        peer = wire.connect()
        peer.put(get("/some/path") * 10_000)
        wire.settle()
        peer.put(get("/some/path"))
        wire.settle()
        assert peer.transport.calls == ["pause_reading"]
        for _ in range(3):
            steps.waiting[-1].set_result(None)
            wire.settle()
        assert len(steps.paths) == 4
        assert peer.transport.calls == ["pause_reading"]
        peer.lose()

    def test_reading_goes_on_behind_the_last_of_them(self, work: Work) -> None:
        steps = Steps()
        wire = work(steps)
        peer = wire.connect()
        peer.put(get("/1"))
        wire.settle()
        peer.put(post(b"x" * 70_000, path="/2"))
        wire.settle()
        assert peer.transport.calls == ["pause_reading"]
        steps.waiting[0].set_result(None)
        wire.settle()
        assert steps.paths == ["/1", "/2"]
        assert peer.transport.calls == ["pause_reading", "resume_reading"]
        peer.lose()


def test_drain_closes_a_connection_with_part_of_a_head(work: Work) -> None:
    wire = work(hello())
    peer = wire.connect()
    peer.put(b"GET / HT")
    wire.settle()
    wire.call(wire.worker.drain)
    wire.settle()
    assert peer.ended


class TestUnreadResponses:
    """No request is begun while the response before it waits for the client."""

    def hold_up(self, work: Work, request: bytes = get("/health")) -> tuple[Peer, int]:
        """Return a client that reads nothing, and how many requests it has sent before no more were read."""
        peer = work(hello(), health_path=b"/health", timeout_write=0).connect()
        peer.transport.stuck = True
        sent = 0
        while peer.transport.reading:
            peer.put(request * 100)
            peer.wire.settle()
            sent += 100
            assert sent * len(request) < 10 * 65536, "it takes all of them"
        assert peer.transport.queue < 3 * 65536
        return peer, sent

    def read_on(self, peer: Peer) -> bytes:
        while peer.transport.queue:
            peer.transport.unstick()
            peer.wire.settle()
        return peer.take()

    @pytest.mark.parametrize(
        "request_bytes", [get("/health"), get("/health", "Content-Length: 3") + b"abc"], ids=["no body", "body"]
    )
    def test_all_are_made_as_the_client_reads(self, work: Work, request_bytes: bytes) -> None:
        peer, sent = self.hold_up(work, request_bytes)
        assert [each.body for each in read_responses(self.read_on(peer))] == [b"ok"] * sent
        assert peer.transport.reading
        assert read_one(peer.feed(get("/"))).body == b"hello"

    def test_half_close(self, work: Work) -> None:
        peer, sent = self.hold_up(work)
        heard = peer.eof()
        assert len(read_responses(heard + self.read_on(peer))) == sent
        assert peer.transport.closed

    def test_half_close_after_the_last(self, work: Work) -> None:
        peer = work(hello(bytes(100_000)), timeout_write=0).connect()
        peer.transport.stuck = True
        peer.feed(get())
        peer.eof()
        self.read_on(peer)
        assert peer.transport.closed

    @pytest.mark.parametrize("replaced", [False, True])
    def test_drain(self, work: Work, replaced: bool) -> None:
        """Where another process serves the client's next requests, one that has come is served, as the last."""
        peer, sent = self.hold_up(work)
        peer.wire.call(peer.wire.worker.drain, replaced)
        responses = read_responses(self.read_on(peer))
        assert len(responses) < sent
        assert responses[-1].get(b"connection") == (b"close" if replaced else None)
        assert peer.ended

    def test_a_body_that_nobody_reads_has_no_deadline_once_it_has_come(self, work: Work) -> None:
        peer = work(hello(bytes(100_000)), timeout_write=0).connect()
        peer.transport.stuck = True
        peer.put(get("/", "Content-Length: 3", method="POST"))
        peer.wire.settle()
        peer.put(b"abc" + get("/"))
        peer.wire.advance(1000)
        assert not peer.transport.closed
        assert len(read_responses(self.read_on(peer))) == 2
        peer.wire.advance(1000)
        assert peer.transport.closed
