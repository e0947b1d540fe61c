"""TLS of the core's own: bytes in, events out, with OpenSSL as the client."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

import pytest
from core.responses import read_one, read_responses
from core.tls.client import SECONDS, UPDATES_KEYS, Secure
from fakes.worker import FakeWorker, get, hello, post, respond
from tls.pki import Pki

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
given: Callable[..., Decorator] = hypothesis.given
bounded: Decorator = hypothesis.settings(max_examples=60, deadline=None, database=None)
Work = Callable[..., FakeWorker]
Connect = Callable[..., Secure]
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
MILLION = 1_000_000
updates_keys = pytest.mark.skipif(not UPDATES_KEYS, reason="the functions of this Python's OpenSSL are hidden")


@pytest.fixture(params=[TLS_1_2, TLS_1_3])
def version(request: pytest.FixtureRequest) -> dict[str, ssl.TLSVersion]:
    return {"maximum_version": request.param}


def echo_size() -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message["body"])
            more = message["more_body"]
        await respond(send, str(size).encode())

    return app


class TestHandshake:
    def test_nothing_is_seen_before_its_end(self, work: Work, secure: Connect, version: Any) -> None:
        wire = work(hello())
        peer = secure(wire, **version)
        assert not wire.worker.connections
        peer.shake_hands()
        peer.exchange()
        assert wire.worker.connections == {peer.connection}

    def test_a_request_in_the_same_bytes_as_its_end(self, work: Work, secure: Connect, version: Any) -> None:
        peer = secure(work(hello()), **version)
        peer.shake_hands()
        peer.tls.write(get())
        assert read_one(peer.read()).body == b"hello"

    def test_in_single_bytes(self, work: Work, secure: Connect, version: Any) -> None:
        peer = secure(work(hello()), **version)
        while True:
            try:
                peer.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                peer.put(bytes([octet]) for octet in peer.outgoing.read())
                peer.take()
        peer.tls.write(get())
        peer.put(bytes([octet]) for octet in peer.outgoing.read())
        assert read_one(peer.read()).body == b"hello"

    @pytest.mark.parametrize("said", [0, 1, 100])
    def test_that_never_ends(self, work: Work, secure: Connect, caplog: pytest.LogCaptureFixture, said: int) -> None:
        caplog.set_level(logging.DEBUG, "fastserve.error")
        wire = work(hello())
        peer = secure(wire)
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        peer.put([peer.outgoing.read()[:said]])
        wire.advance(SECONDS - 1)
        assert peer.transport.calls == []
        wire.advance(2)
        assert peer.transport.calls == ["abort"]
        assert caplog.messages == ["TLS handshake failed: the client left or took too long"]
        assert not wire.worker.connections

    def test_that_ends_is_not_bounded_any_more(self, work: Work, secure: Connect) -> None:
        wire = work(hello(), timeout_keep_alive=1000, timeout_request_head=1000)
        peer = secure(wire)
        peer.shake_hands()
        peer.exchange()
        wire.advance(SECONDS + 1)
        assert peer.transport.calls == []

    def test_the_client_is_told_why_it_fails(
        self, work: Work, secure: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "fastserve.error")
        peer = secure(work(hello()))
        peer.put([b"\x16\x03\x01\x00\x05hello"])
        assert peer.transport.calls == ["abort"]
        assert b"".join(peer.transport.writes)[:1] == b"\x15"  # an alert
        assert [line.partition(":")[0] for line in caplog.messages] == ["TLS handshake failed"]

    def test_an_end_of_the_client_in_it(self, work: Work, secure: Connect) -> None:
        peer = secure(work(hello()))
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        peer.put([peer.outgoing.read()[:50]])
        assert not peer.protocol.eof_received()
        assert peer.transport.calls == ["abort"]

    def test_an_error_of_the_context(self, work: Work, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
        def wrap_bio(*args: Any, **options: Any) -> Any:
            raise RuntimeError("no")

        wire = work(hello())
        monkeypatch.setattr("fastserve.net.tls.Context.wrap_bio", wrap_bio)
        peer = Secure(wire, pki)
        assert peer.transport.calls == ["abort"]
        assert [context["message"] for context in wire.unhandled] == ["SSL handshake failed"]
        wire.unhandled.clear()
        peer.leave()


class TestReading:
    def test_any_segmentation(self, work: Work, secure: Connect) -> None:
        """Of the requests in records, and of the records in reads."""

        requests = get() + post(random.Random(1).randbytes(50_000)) + get() + post(b"x" * 3) + get()

        @bounded
        @given(
            records=st.lists(st.integers(0, len(requests)), max_size=8),
            reads=st.lists(st.integers(0, len(requests) + 500), max_size=20),
        )
        def check(records: list[int], reads: list[int]) -> None:
            peer = secure(wire)
            peer.shake_hands()
            for begin, end in cut(records, len(requests)):
                peer.tls.write(requests[begin:end])
            encrypted = peer.outgoing.read()
            peer.put(encrypted[begin:end] for begin, end in cut(reads, len(encrypted)))
            bodies = [response.body for response in read_responses(peer.read())]
            peer.leave()
            assert bodies == [b"0", b"50000", b"0", b"3", b"0"]

        wire = work(echo_size())
        check()

    @updates_keys
    def test_what_has_no_data(self, work: Work, secure: Connect) -> None:
        """Records that are for TLS itself."""
        peer = secure(work(hello()), maximum_version=TLS_1_3)
        peer.shake_hands()
        peer.exchange()
        for _ in range(3):
            peer.update_key(ask=False)
            peer.exchange()
        assert read_one(peer.ask(get())).body == b"hello"

    @updates_keys
    @pytest.mark.parametrize("ask", [False, True])
    def test_key_update(self, work: Work, secure: Connect, ask: bool) -> None:
        peer = secure(work(hello()), maximum_version=TLS_1_3)
        peer.shake_hands()
        assert read_one(peer.ask(get())).body == b"hello"
        peer.update_key(ask)
        peer.exchange()
        assert read_one(peer.ask(get())).body == b"hello"
        peer.update_key(ask)  # in one read with a request
        assert read_one(peer.ask(get())).body == b"hello"

    def test_a_million_bytes_each_way(self, work: Work, secure: Connect, version: Any) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            body, more = b"", True
            while more:
                message = await receive()
                body += message["body"]
                more = message["more_body"]
            await respond(send, body)

        body = random.Random(2).randbytes(MILLION)
        peer = secure(work(app), **version)
        peer.shake_hands()
        peer.tls.write(post(body))
        sent = peer.outgoing.read()
        peer.put(sent[at : at + 100_000] for at in range(0, len(sent), 100_000))
        assert read_one(peer.read()).body == body

    def test_more_than_a_loop_reads_at_once(self, work: Work, secure: Connect) -> None:
        peer = secure(work(echo_size()))
        peer.shake_hands()
        assert read_one(peer.ask(post(b"x" * MILLION))).body == str(MILLION).encode()

    @pytest.mark.parametrize(
        "what", [b"GET / HTTP/1.1\r\n\r\n", b"\x17\x03\x03\xff\xff", b"\x17\x03\x03\x00\x40" + b"x" * 64]
    )
    def test_what_cannot_be_decrypted(self, work: Work, secure: Connect, what: bytes) -> None:
        wire = work(hello())
        peer = secure(wire)
        peer.shake_hands()
        assert read_one(peer.ask(get())).status == 200
        peer.put([what])
        assert peer.transport.calls == ["abort"]
        with pytest.raises(ssl.SSLError, match="ALERT"):
            peer.read()
        assert not wire.worker.connections

    def test_what_comes_before_that_in_one_read(self, work: Work, secure: Connect) -> None:
        """No application runs for a connection that is about to end."""
        wire = work(hello())
        peer = secure(wire)
        peer.shake_hands()
        peer.exchange()
        peer.tls.write(get())
        peer.put([peer.outgoing.read() + b"\x17\x03\x03\x00\x40" + b"x" * 64])
        assert peer.transport.calls == ["abort"]
        assert wire.worker.total_requests == 0

    def test_a_client_that_sends_more_than_is_taken(self, work: Work, secure: Connect) -> None:
        """The plain transport stops reading, and goes on when the application does."""
        taken = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await taken.wait()
            await echo_size()(scope, receive, send)

        wire = work(app)
        peer = secure(wire)
        peer.shake_hands()
        peer.tls.write(post(b"x" * MILLION))
        rest = peer.outgoing.read()
        while rest and peer.transport.reading:
            peer.put([rest[:65536]])
            rest = rest[65536:]
        assert len(rest) > MILLION // 2
        wire.call(taken.set)
        while rest:
            assert peer.transport.reading
            peer.put([rest[:65536]])
            rest = rest[65536:]
        assert read_one(peer.read()).body == str(MILLION).encode()


class TestWriting:
    def test_what_a_turn_gathers_is_one_record(self, work: Work, secure: Connect) -> None:
        peer = secure(work(hello()))
        peer.shake_hands()
        peer.exchange()
        peer.tls.write(get() * 5)
        peer.put([peer.outgoing.read()])
        (record,) = peer.transport.writes
        assert int.from_bytes(record[3:5], "big") + 5 == len(record)
        assert len(read_responses(peer.read())) == 5

    def test_a_client_that_never_reads(self, work: Work, secure: Connect) -> None:
        """The application is asked to wait, and the connection ends once nothing was read in time."""
        sent = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal sent
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
                sent += 65536

        wire = work(app, timeout_write=5)
        peer = secure(wire)
        peer.shake_hands()
        peer.exchange()
        peer.transport.stuck = True
        peer.tls.write(get())
        peer.put([peer.outgoing.read()])
        assert sent < 4 * 65536
        assert peer.transport.queue < 4 * 65536
        wire.advance(6)
        assert peer.transport.calls[-1] == "abort"

    @updates_keys
    def test_a_client_that_asks_for_keys_and_never_reads(self, work: Work, secure: Connect) -> None:
        """Its connection ends long before it has been unread for as long as --timeout-write allows."""
        peer = secure(work(hello()), maximum_version=TLS_1_3)
        peer.shake_hands()
        peer.exchange()
        peer.transport.stuck = True
        for _ in range(10_000):
            peer.update_key(ask=True)
            peer.put([peer.outgoing.read()])
            if peer.transport.closed:
                break
        assert peer.transport.calls[-1] == "abort"
        assert peer.transport.queue < 100_000  # its high-water mark, and a thousand replies

    @updates_keys
    def test_a_client_that_asks_for_keys_and_reads_late(self, work: Work, secure: Connect) -> None:
        peer = secure(work(hello()), maximum_version=TLS_1_3)
        peer.shake_hands()
        peer.exchange()
        for _ in range(4):  # as often as it likes
            peer.transport.stuck = True
            for _ in range(500):
                peer.update_key(ask=True)
            peer.put([peer.outgoing.read()])
            peer.transport.unstick()
            assert read_one(peer.ask(get())).body == b"hello"

    def test_a_client_that_reads_late(self, work: Work, secure: Connect) -> None:
        peer = secure(work(hello(b"x" * MILLION)))
        peer.shake_hands()
        peer.exchange()
        peer.transport.stuck = True
        peer.tls.write(get())
        peer.put([peer.outgoing.read()])
        assert peer.transport.queue < 4 * 65536  # of what is encrypted
        peer.transport.unstick()
        assert read_one(peer.read()).body == b"x" * MILLION


class TestEnd:
    def test_by_the_client(self, work: Work, secure: Connect, version: Any) -> None:
        wire = work(hello())
        peer = secure(wire, **version)
        peer.shake_hands()
        assert read_one(peer.ask(get())).status == 200
        peer.end()
        assert peer.transport.calls == ["close"]
        peer.tls.unwrap()  # the server's close_notify has come as well
        assert not wire.worker.connections

    def test_by_the_client_after_a_request(self, work: Work, secure: Connect) -> None:
        peer = secure(work(hello()))
        peer.shake_hands()
        peer.tls.write(get())
        peer.end()
        assert read_one(peer.tls.read(65536)).status == 200
        assert peer.transport.calls[-1] == "close"

    def test_by_the_server(self, work: Work, secure: Connect, version: Any) -> None:
        wire = work(hello())
        peer = secure(wire, **version)
        peer.shake_hands()
        assert read_one(peer.ask(get("/", "Connection: close"))).status == 200
        assert peer.has_ended
        assert peer.transport.calls == []  # until the client has ended too
        peer.end()
        assert peer.transport.calls == ["close"]

    @pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what is unread in a UNIX socket")
    def test_a_client_that_takes_the_rest_slowly(
        self, work: Work, secure: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the kernel has when the server ends gets through, as long as the client takes something in time."""
        looks: list[Any] = []
        wire = work(hello(b"x" * 100_000), timeout_write=5)
        later = wire.loop.call_later

        def call_later(seconds: float, callback: Any, *args: Any) -> Any:
            if callback.__name__ != "look":
                return later(seconds, callback, *args)
            looks.append(callback)
            return asyncio.TimerHandle(0, callback, args, wire.loop)

        def wait(seconds: float) -> None:
            wire.advance(seconds)
            wire.call(looks.pop())

        monkeypatch.setattr(wire.loop, "call_later", call_later)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            peer = secure(wire, sockets=(ours, theirs))
            peer.shake_hands()
            peer.tls.write(get("/", "Connection: close"))
            peer.put([peer.outgoing.read()])
            for _ in range(2):
                wait(3)
                peer.incoming.write(theirs.recv(45_000))
            wait(3)
            assert peer.transport.calls == []
            wait(6)
            assert peer.transport.calls == ["abort"]
            assert read_one(peer.read()).body == b"x" * 100_000

    def test_what_comes_after_it_is_discarded(self, work: Work, secure: Connect, version: Any) -> None:
        wire = work(hello())
        peer = secure(wire, **version)
        peer.shake_hands()
        peer.tls.write(get("/", "Connection: close"))
        peer.put([peer.outgoing.read()])
        for _ in range(3):
            peer.tls.write(get())
            peer.put([peer.outgoing.read()])
        assert wire.worker.total_requests == 1
        assert peer.transport.calls == []
        peer.end()
        assert peer.transport.calls == ["close"]

    def test_without_close_notify(self, work: Work, secure: Connect) -> None:
        """What the client has sent may have been cut off: it is not told that all is well."""
        told: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while not told:
                message = await receive()
                if message["type"] == "http.disconnect":
                    told.append(message)

        wire = work(app)
        peer = secure(wire)
        peer.shake_hands()
        peer.ask(post(b"x" * 10)[:-5])
        assert not peer.protocol.eof_received()
        wire.call(peer.transport.close)
        assert told
        assert not peer.has_ended

    def test_abort_sends_nothing(self, work: Work, secure: Connect) -> None:
        wire = work(hello())
        peer = secure(wire)
        peer.shake_hands()
        peer.ask(get())
        wire.call(peer.connection.abort)
        assert peer.transport.calls == ["abort"]
        assert not peer.has_ended

    def test_a_connection_that_is_lost(self, work: Work, secure: Connect) -> None:
        wire = work(hello())
        peer = secure(wire)
        peer.shake_hands()
        peer.ask(get())
        peer.lose()
        assert not wire.worker.connections


def cut(places: list[int], size: int) -> list[tuple[int, int]]:
    """Return the ends of the pieces of `size` bytes between these places."""
    ends = sorted({min(place, size) for place in places} | {0, size})
    return list(itertools.pairwise(ends))
