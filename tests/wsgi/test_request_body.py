"""wsgi.input: whole, in pieces, slow, and of clients that go away."""

from __future__ import annotations

import io
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any
from wsgiref.validate import validator

import pytest
import support
from asgi.gates import push
from core.responses import Client
from fakes.worker import chunked, get, post

from fastserve._core.errors import ClientDisconnected

Environ = dict[str, Any]
Start = Callable[..., support.Running]
Connect = Callable[..., Client]
RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: close() resets the connection
SECONDS = support.PATIENCE

TEXT = b"first line\nsecond\n\nlast, without an end"


def reading(read: Callable[[Any], Any]) -> Any:
    """An application that responds with the repr of what `read` gives for wsgi.input."""

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        got = read(environ["wsgi.input"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [repr(got).encode()]

    return app


def in_pieces(client: Client, body: bytes, size: int) -> bytes:
    """Send a chunked body in `size` packets that the server reads one by one, and return the body of the response."""
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.send(get("/", "Transfer-Encoding: chunked", method="POST"))
    for at in range(0, len(body), size):
        piece = body[at : at + size]
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    return client.ask(b"0\r\n\r\n").body


READS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda body: body.read(), TEXT),
    (lambda body: body.read(-1), TEXT),
    (lambda body: body.read(None), TEXT),
    (lambda body: body.read(1000), TEXT),
    (lambda body: [body.read(4), body.read(0), body.read(8), body.read(1000), body.read(1000)],
     [TEXT[:4], b"", TEXT[4:12], TEXT[12:], b""]),
    (lambda body: [body.readline(), body.readline(3), body.readline(), body.readline(), body.readline(),
                   body.readline()],
     [b"first line\n", b"sec", b"ond\n", b"\n", b"last, without an end", b""]),
    (lambda body: body.readlines(), TEXT.splitlines(keepends=True)),
    (lambda body: body.readlines(12), [b"first line\n", b"second\n"]),
    (list, TEXT.splitlines(keepends=True)),
    (lambda body: [next(body), body.read(3), *body], [b"first line\n", b"sec", b"ond\n", b"\n", TEXT[-20:]]),
]  # fmt: skip


@pytest.mark.parametrize(("read", "expected"), READS)
def test_reads(client: Connect, read: Callable[[Any], Any], expected: Any) -> None:
    """Every way to read gives the same for a body that is there, that comes in chunks, and that comes bit by bit."""
    connected = client(reading(read))
    assert connected.ask(post(TEXT)).body == repr(expected).encode()
    assert connected.ask(chunked([TEXT[:7], TEXT[7:]])).body == repr(expected).encode()
    assert in_pieces(connected, TEXT, 5) == repr(expected).encode()


@pytest.mark.parametrize("request_bytes", [get(), get(method="DELETE"), post(b""), chunked([])])
def test_no_body(client: Connect, request_bytes: bytes) -> None:
    read = reading(lambda body: [body.read(), body.read(5), body.readline(), body.readlines(), list(body)])
    assert client(read).ask(request_bytes).body == repr([b"", b"", b"", [], []]).encode()


def test_large_body(client: Connect) -> None:
    def read(body: Any) -> int:
        size = 0
        while piece := body.read(50_000):
            assert piece == b"x" * len(piece)
            size += len(piece)
        return size

    connected = client(validator(reading(read)))
    assert connected.ask(post(b"x" * 3_000_000)).body == b"3000000"
    assert connected.ask(chunked([b"x" * 70_000] * 20)).body == b"1400000"


def test_wrappers_of_the_standard_library_work(client: Connect) -> None:
    def read(body: Any) -> list[str]:
        return list(io.TextIOWrapper(body, encoding="utf-8"))

    text = "gr\xfc\xdfe\nund so\n"
    connected = client(reading(read))
    assert connected.ask(post(text.encode())).body == repr(text.splitlines(keepends=True)).encode()
    assert in_pieces(connected, text.encode(), 1) == repr(text.splitlines(keepends=True)).encode()


def test_the_application_is_called_before_the_body_has_come(client: Connect) -> None:
    called = threading.Event()

    def read(body: Any) -> Any:
        called.set()
        return body.read()

    connected = client(reading(read))
    connected.send(get("/", "Content-Length: 4", method="POST") + b"ab")
    assert called.wait(SECONDS)
    assert connected.ask(b"cd").body == b"b'abcd'"


def test_an_answer_while_the_body_comes(client: Connect) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return iter(environ["wsgi.input"].readline, b"")

    connected = client(app)
    connected.send(get("/", "Transfer-Encoding: chunked", method="POST"))
    for line in (b"one\n", b"two\n", b"three\n"):
        chunk = b"%x\r\n%b\r\n" % (len(line), line)
        connected.send(chunk)
        connected.read_until(chunk)
    connected.send(b"0\r\n\r\n")
    connected.read_until(b"0\r\n\r\n")


def test_an_answer_without_the_body(client: Connect) -> None:
    """A client that is not asked for its body gets a response without sending it."""

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("403 Forbidden", [])
        return [b"no"]

    connected = client(app)
    assert connected.ask(get("/", "Content-Length: 5", method="POST")).body == b"no"
    assert connected.ask(b"12345" + get()).body == b"no"


class TestExpect:
    def test_100_when_the_application_reads(self, client: Connect) -> None:
        begun = threading.Event()
        go = threading.Event()

        def read(body: Any) -> Any:
            begun.set()
            assert go.wait(SECONDS)
            return body.read()

        connected = client(reading(read))
        connected.send(get("/", "Content-Length: 3", "Expect: 100-continue", method="POST"))
        assert begun.wait(SECONDS)
        connected.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connected.sock.recv(1)
        connected.sock.settimeout(SECONDS)
        go.set()
        connected.read_until(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert connected.ask(b"abc").body == b"b'abc'"

    def test_none_when_it_does_not(self, client: Connect) -> None:
        connected = client(reading(lambda body: "unread"))
        request = get("/", "Content-Length: 3", "Expect: 100-continue", method="POST")
        assert connected.ask(request).status == 200


def test_what_the_application_does_not_read_stays_with_the_client(start: Start) -> None:
    """The server holds a bounded part of a body; the rest waits in the client, and comes when it is read."""
    go = threading.Event()
    size = 30_000_000

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        read = 0
        if environ["REQUEST_METHOD"] == "POST":
            assert go.wait(SECONDS)
            while piece := environ["wsgi.input"].read(1 << 16):
                read += len(piece)
        start_response("200 OK", [])
        return [b"%d" % read]

    server = start(app)
    with server.connect(SECONDS) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sock.sendall(get("/", f"Content-Length: {size}", method="POST"))
        other = Client(server.connect(SECONDS))
        taken = push(sock, lambda: other.ask(get()), size)
        assert 0 < taken < size
        go.set()
        sock.sendall(bytes(size - taken))
        assert Client(sock).read().body == b"%d" % size


class TestClientThatLeaves:
    def test_a_read_fails(self, client: Connect, log: Callable[[], list[str]]) -> None:
        """With an OSError, which frameworks know; and it is no error of the application's that would be logged."""
        waiting = threading.Event()
        raised: list[BaseException] = []
        done = threading.Event()

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            try:
                assert environ["wsgi.input"].read(2) == b"ab"
                waiting.set()
                return [environ["wsgi.input"].read()]
            except OSError as exc:
                raised.append(exc)
                raise
            finally:
                done.set()

        connected = client(app)
        connected.send(get("/", "Content-Length: 10", method="POST") + b"ab")
        assert waiting.wait(SECONDS)
        connected.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connected.close()
        assert done.wait(SECONDS)
        assert type(raised[0]) is ClientDisconnected
        raised.clear()
        assert log() == []

    def test_what_has_come_can_be_read(self, client: Connect) -> None:
        connected = client(reading(lambda body: body.read(3)))
        connected.send(get("/", "Content-Length: 5", method="POST") + b"abc")
        connected.sock.shutdown(socket.SHUT_WR)
        assert connected.read().body == b"b'abc'"

    def test_a_read_after_the_response_fails(self, client: Connect) -> None:
        """A thread that the application leaves behind must not wait for ever."""
        raised: list[BaseException] = []
        threads: list[threading.Thread] = []
        answered = threading.Event()

        def later(body: Any) -> None:
            assert answered.wait(SECONDS)
            try:
                body.read()
            except OSError as exc:
                raised.append(exc)

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            threads.append(threading.Thread(target=later, args=[environ["wsgi.input"]]))
            threads[0].start()
            start_response("200 OK", [])
            return [b"at once"]

        connected = client(app)
        assert connected.ask(get("/", "Content-Length: 5", method="POST")).body == b"at once"
        answered.set()
        threads[0].join(SECONDS)
        assert type(raised[0]) is ClientDisconnected
        raised.clear()
