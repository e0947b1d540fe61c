"""start_response(), write() and the iterable, as a client sees them."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest
import support
from core.responses import Client
from fakes.worker import get, post

Environ = dict[str, Any]
Start = Callable[..., support.Running]
Connect = Callable[..., Client]
Log = Callable[[], list[str]]
SECONDS = support.PATIENCE


def returning(body: Any, headers: list[tuple[str, str]] | None = None, status: str = "200 OK") -> Any:
    """An application that returns this; a callable is called for the body."""

    def app(environ: Environ, start_response: Any) -> Any:
        start_response(status, list(headers or []))
        return body() if callable(body) else body

    return app


class Pieces:
    """An iterable that notes what is done with it."""

    def __init__(self, *pieces: bytes | Callable[[], Exception]) -> None:
        self.pieces = pieces
        self.asked: list[Any] = []
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.asked.append(piece)
            if not isinstance(piece, bytes):
                raise piece()
            yield piece

    def close(self) -> None:
        assert not self.closed.is_set()
        self.closed.set()


class TestFraming:
    def test_one_piece_gets_its_length(self, client: Connect) -> None:
        response = client(returning([b"12345"])).ask(get())
        assert (response.get(b"content-length"), response.body) == (b"5", b"12345")

    @pytest.mark.parametrize(
        "items", [[b"ab", b"", b"cde"], (b"ab", b"cde"), [b"abcde"], [memoryview(b"a-b-")[::2], bytearray(b"cde")]]
    )
    def test_pieces_that_are_there_are_one(self, client: Connect, items: Any) -> None:
        response = client(returning(items)).ask(get())
        assert (response.get(b"content-length"), response.body) == (b"5", b"abcde")

    def test_pieces_that_come_are_chunks(self, client: Connect) -> None:
        connected = client(returning(lambda: iter([b"ab", b"", b"cde"])))
        response = connected.ask(get())
        assert (response.chunks, response.body) == (2, b"abcde")
        assert connected.ask(get()).body == b"abcde"

    def test_a_list_of_large_pieces_is_not_joined(self, client: Connect) -> None:
        response = client(returning([b"x" * 50_000, b"", b"y" * 50_000])).ask(get())
        assert (response.chunks, response.body) == (2, b"x" * 50_000 + b"y" * 50_000)

    def test_http_1_0_gets_no_chunks(self, client: Connect) -> None:
        response = client(returning(lambda: iter([b"ab", b"cde"]))).ask(get(version="1.0"))
        assert (response.get(b"transfer-encoding"), response.body) == (None, b"abcde")

    @pytest.mark.parametrize("empty", [[], (), [b""], b"", lambda: iter([])])
    def test_nothing_has_length_0(self, client: Connect, empty: Any) -> None:
        response = client(returning(empty)).ask(get())
        assert (response.status, response.get(b"content-length"), response.body) == (200, b"0", b"")

    @pytest.mark.parametrize("headers", [[], [("Content-Length", "0")]])
    @pytest.mark.parametrize("pieces", [[b""], [b"", b""]])
    def test_empty_pieces_are_an_empty_body(
        self, client: Connect, pieces: list[bytes], headers: list[tuple[str, str]]
    ) -> None:
        connected = client(returning(lambda: iter(pieces), headers))
        for _ in range(2):
            response = connected.ask(get())
            assert (response.status, response.chunks, response.body) == (200, 0, b"")
            assert response.get(b"content-length") == (b"0" if headers else None)

    @pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
    @pytest.mark.parametrize("body", [[], [b"not written"], lambda: iter([b"", b"not", b"written"])])
    def test_statuses_without_a_body(self, client: Connect, status: str, body: Any) -> None:
        connected = client(returning(body, status=status))
        for _ in range(2):
            response = connected.ask(get())
            assert response.status == int(status[:3])
            assert response.get(b"transfer-encoding") is None

    @pytest.mark.parametrize("body", [[b"12345"], lambda: iter([b"12", b"345"]), lambda: iter([b""]), []])
    def test_head(self, client: Connect, body: Any) -> None:
        connected = client(returning(body, [("Content-Length", "5")]))
        for _ in range(2):
            response = connected.ask(get(method="HEAD"), "HEAD")
            assert (response.status, response.get(b"content-length"), response.body) == (200, b"5", b"")

    def test_the_last_byte_of_the_length_ends_the_response(self, client: Connect) -> None:
        """The client has it in full while the application still has something to do."""
        go = threading.Event()

        def body() -> Iterator[bytes]:
            yield b"123"
            yield b"45"
            assert go.wait(SECONDS)

        connected = client(returning(body, [("Content-Length", "5")]))
        assert connected.ask(get()).body == b"12345"
        go.set()

    @pytest.mark.parametrize("body", [[b"123456"], lambda: iter([b"123456"])])
    def test_longer_than_its_length(self, client: Connect, log: Log, body: Any) -> None:
        connected = client(returning(body, [("Content-Length", "5")]))
        assert connected.ask(get()).status == 500
        assert connected.at_end()
        assert log() == [
            "ERROR Exception in ASGI application RuntimeError: Response content longer than Content-Length"
        ]

    def test_a_piece_behind_its_length(self, client: Connect, log: Log) -> None:
        connected = client(returning(lambda: iter([b"12345", b"6"]), [("Content-Length", "5")]))
        assert connected.ask(get()).body == b"12345"
        assert connected.ask(get()).body == b"12345"
        assert "RuntimeError: Response content longer than Content-Length" in log()[0]

    def test_shorter_than_its_length(self, client: Connect, log: Log) -> None:
        connected = client(returning(lambda: iter([b"123"]), [("Content-Length", "5")]))
        connected.send(get())
        assert connected.read_until(b"\r\n\r\n123").startswith(b"HTTP/1.1 200 OK\r\n")
        assert connected.at_end()
        assert log() == [
            "ERROR Exception in ASGI application RuntimeError: Response content shorter than Content-Length"
        ]


class TestStreaming:
    def test_a_piece_does_not_wait_for_the_next(self, client: Connect) -> None:
        go = [threading.Event() for _ in range(3)]

        def body() -> Iterator[bytes]:
            for number, event in enumerate(go):
                yield b"%d;" % number
                assert event.wait(SECONDS)

        connected = client(returning(body))
        connected.send(get())
        for number, event in enumerate(go):
            connected.read_until(b"%d;" % number)
            event.set()
        connected.read_until(b"0\r\n\r\n")

    def test_the_head_waits_for_the_first_piece(self, client: Connect) -> None:
        """What an application finds out while it makes the first piece can still change the head."""

        def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [("A", "1"), ("Content-Type", "text/plain")])
            try:
                raise KeyError("x")
            except KeyError:
                start_response("404 Not Found", [("B", "2"), ("Content-Type", "text/plain")], sys.exc_info())
            yield b"sorry"

        response = client(validator(app)).ask(get())
        assert (response.status, response.get(b"a"), response.get(b"b")) == (404, None, b"2")
        assert response.body == b"sorry"

    @pytest.mark.parametrize("http", ["auto", "h11"])
    @pytest.mark.parametrize("by_write", [False, True])
    def test_an_empty_piece_sends_the_head(self, client: Connect, by_write: bool, http: str) -> None:
        go = threading.Event()

        def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
            write = start_response("200 OK", [("A", "1")])
            if by_write:
                write(b"")
            else:
                yield b""
            assert go.wait(SECONDS)
            yield b""
            yield b"late"

        connected = client(app, http=http)
        connected.send(get())
        assert connected.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\na: 1\r\n")
        go.set()
        assert connected.read_until(b"0\r\n\r\n") == b"4\r\nlate\r\n0\r\n\r\n"

    def test_an_empty_piece_before_start_response_sends_nothing(self, client: Connect) -> None:
        def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
            yield b""
            start_response("200 OK", [])
            yield b"x"

        assert client(app).ask(get()).body == b"x"

    def test_write(self, client: Connect) -> None:
        go = threading.Event()

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            write = start_response("200 OK", [])
            write(b"one;")
            write(b"")
            assert go.wait(SECONDS)
            write(b"two;")
            return [b"three"]

        connected = client(app)
        connected.send(get())
        connected.read_until(b"4\r\none;\r\n")
        go.set()
        connected.read_until(b"4\r\ntwo;\r\n5\r\nthree\r\n0\r\n\r\n")

    def test_write_with_a_length(self, client: Connect) -> None:
        def app(environ: Environ, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Length", "5")])(b"12345")
            return []

        connected = client(app)
        assert connected.ask(get()).body == b"12345"
        assert connected.ask(get()).body == b"12345"

    def test_the_application_waits_for_a_client_that_does_not_read(self, start: Start) -> None:
        """Its iterable is not asked on, and the server holds a bounded part of the response."""
        pieces = Pieces(*[b"x" * 65536] * 400)

        def app(environ: Environ, start_response: Any) -> Any:
            start_response("200 OK", [])
            return pieces if environ["PATH_INFO"] == "/pieces" else []

        server = start(app)
        connected, other = Client(server.connect()), Client(server.connect())
        connected.send(get("/pieces"))
        connected.read_until(b"\r\n\r\n")
        asked = still = 0
        while still < 10:  # times around the loop and through the pool without another piece
            other.ask(get())
            still = still + 1 if len(pieces.asked) == asked else 0
            asked = len(pieces.asked)
        assert asked < 300
        while not connected.data.endswith(b"\r\n0\r\n\r\n"):
            connected.data = connected.data[-100:]
            assert connected._more()
        assert pieces.closed.wait(SECONDS)
        assert len(pieces.asked) == 400


class TestClose:
    def test_after_the_last_piece(self, client: Connect) -> None:
        pieces = Pieces(b"ab", b"cde")
        response = client(returning(pieces)).ask(get())
        assert response.body == b"abcde"
        assert pieces.closed.wait(SECONDS)
        assert pieces.asked == [b"ab", b"cde"]

    def test_after_an_error(self, client: Connect, log: Log) -> None:
        pieces = Pieces(lambda: RuntimeError("no pieces"))
        assert client(returning(pieces)).ask(get()).status == 500
        assert pieces.closed.is_set()
        assert log() == ["ERROR Exception in ASGI application RuntimeError: no pieces"]

    def test_after_an_error_in_the_middle(self, client: Connect, log: Log) -> None:
        pieces = Pieces(b"first", lambda: RuntimeError("no more pieces"))
        connected = client(returning(pieces))
        connected.send(get())
        connected.read_until(b"5\r\nfirst\r\n")
        assert connected.at_end()
        assert pieces.closed.is_set()
        assert log() == ["ERROR Exception in ASGI application RuntimeError: no more pieces"]

    def test_when_the_client_leaves(self, client: Connect, log: Log) -> None:
        """The iterable is not asked for more than a piece or so, however many it has."""
        asked = threading.Event()

        class Endless(Pieces):
            def __iter__(self) -> Iterator[bytes]:
                while True:
                    asked.set()
                    yield b"x" * 100_000

        pieces = Endless()
        connected = client(returning(pieces))
        connected.send(get())
        assert asked.wait(SECONDS)
        connected.close()
        assert pieces.closed.wait(SECONDS)
        assert log() == []

    def test_write_fails_when_the_client_has_left(self, client: Connect, log: Log) -> None:
        raised: list[type[BaseException]] = []
        done = threading.Event()

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            write = start_response("200 OK", [])
            try:
                while True:
                    write(b"x" * 100_000)
            except OSError as exc:
                raised.append(type(exc))
                raise
            finally:
                done.set()

        connected = client(app)
        connected.send(get())
        connected.read_until(b"\r\n\r\n")
        connected.close()
        assert done.wait(SECONDS)
        assert [kind.__name__ for kind in raised] == ["ClientDisconnected"]
        assert log() == []

    def test_an_iterable_without_close(self, client: Connect) -> None:
        assert client(returning({b"only": 1})).ask(get()).body == b"only"


class TestErrors:
    def test_in_the_application(self, client: Connect, log: Log, caplog: pytest.LogCaptureFixture) -> None:
        def app(environ: Environ, start_response: Any) -> list[bytes]:
            raise ZeroDivisionError("on purpose")

        connected = client(app)
        response = connected.ask(get())
        assert (response.status, response.get(b"connection"), response.body) == (
            500,
            b"close",
            b"Internal Server Error",
        )
        assert connected.at_end()
        assert log() == ["ERROR Exception in ASGI application ZeroDivisionError: on purpose"]
        assert 'in app\n    raise ZeroDivisionError("on purpose")' in caplog.text

    def test_after_start_response(self, client: Connect) -> None:
        def app(environ: Environ, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("X-Secret", "1")])
            raise ZeroDivisionError

        response = client(app).ask(get())
        assert (response.status, response.get(b"x-secret")) == (500, None)

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
    def test_one_that_would_end_a_program_ends_the_request(
        self, start: Start, log: Log, error: type[BaseException]
    ) -> None:
        def app(environ: Environ, start_response: Any) -> list[bytes]:
            if environ["PATH_INFO"] == "/exit":
                raise error
            start_response("200 OK", [])
            return [b"alive"]

        server = start(app)
        assert Client(server.connect()).ask(get("/exit")).status == 500
        assert Client(server.connect()).ask(get()).body == b"alive"
        assert len(log()) == 1

    @pytest.mark.parametrize(
        ("app", "complaint"),
        [
            (lambda environ, start_response: [b"x"], "AssertionError: the application sent a body or returned"),
            (lambda environ, start_response: [], "AssertionError: the application sent a body or returned"),
            (returning(None), "TypeError: 'NoneType' object is not iterable"),
            (returning(["text"]), "TypeError: a piece of a response must be bytes, not str"),
            (returning("text"), "TypeError: a piece of a response must be bytes, not str"),
            (returning(lambda: iter(["text"])), "TypeError: a piece of a response must be bytes, not str"),
            (returning([b"a", 5]), "TypeError: a piece of a response must be bytes, not int"),
        ],
    )
    def test_against_the_rules(self, client: Connect, log: Log, app: Any, complaint: str) -> None:
        assert client(app).ask(get()).status == 500
        (line,) = log()
        assert line.startswith(f"ERROR Exception in ASGI application {complaint}")

    def test_two_calls_of_start_response(self, client: Connect, log: Log) -> None:
        def app(environ: Environ, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            start_response("200 OK", [])
            return []

        assert client(app).ask(get()).status == 500
        assert "start_response() was called again" in log()[0]

    def test_exc_info_after_the_head_is_raised_again(self, client: Connect, log: Log) -> None:
        def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [])
            yield b"first"
            try:
                raise KeyError("late")
            except KeyError:
                start_response("500 Internal Server Error", [], sys.exc_info())
            raise AssertionError("unreachable")

        connected = client(app)
        connected.send(get())
        connected.read_until(b"5\r\nfirst\r\n")
        assert connected.at_end()
        assert log() == ["ERROR Exception in ASGI application KeyError: 'late'"]

    def test_in_close(self, start: Start, log: Log) -> None:
        class Broken(Pieces):
            def close(self) -> None:
                raise RuntimeError("cannot close")

        running = start(returning(Broken(b"all of it")))
        assert Client(running.connect()).ask(get()).body == b"all of it"
        running.stop()
        assert log() == ["ERROR Exception in ASGI application RuntimeError: cannot close"]


def test_requests_on_one_connection(client: Connect) -> None:
    def echo(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode(), b" ", environ["wsgi.input"].read()]

    connected = client(validator(echo_with_type(echo)))
    connected.send(get("/1") + post(b"two", path="/2") + get("/3"))
    assert [connected.read().body for _ in range(3)] == [b"/1 ", b"/2 two", b"/3 "]


def echo_with_type(app: Any) -> Any:
    """The validator wants a content type."""

    def typed(environ: Environ, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [("Content-Type", "text/plain"), *headers])

        body = environ["wsgi.input"]

        class Whole:
            read = staticmethod(lambda: body.read(100))

        return app({**environ, "wsgi.input": Whole}, start)

    return typed
