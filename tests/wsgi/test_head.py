"""What start_response() takes, and what it refuses."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import flask
import pytest
from core.responses import Client
from fakes.worker import get
from wsgi.test_response import returning

Environ = dict[str, Any]
Connect = Callable[..., Client]
Log = Callable[[], list[str]]


class TestHead:
    def test_status_and_headers(self, client: Connect) -> None:
        headers = [("X-One", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Latin", "\xe4"), ("X-Empty", "")]
        response = client(returning([b"x"], headers, "404 Not Here")).ask(get())
        assert (response.status, response.body) == (404, b"x")
        assert response.all(b"set-cookie") == [b"a=1", b"b=2"]
        assert (response.get(b"x-one"), response.get(b"x-latin"), response.get(b"x-empty")) == (b"1", b"\xe4", b"")

    @pytest.mark.parametrize("body", [lambda: [b"x"], lambda: iter([b"x"]), lambda: iter([b"x", b"y"])])
    @pytest.mark.parametrize("config", [{}, {"request_id_header": "X-Request-ID"}])
    def test_values_of_each_kind(self, client: Connect, body: Any, config: dict[str, Any]) -> None:
        class Text(str):
            __slots__ = ()

        pairs = [("X-Plain", "a\tb"), ("X-Latin", "\xe4\xff"), ("X-Own", Text("c")), ("X-Own-Latin", Text("\xfc"))]
        response = client(returning(body, [*pairs, ("Content-Type", "text/plain")]), **config).ask(get())
        assert response.status == 200
        for name, value in pairs:
            assert response.get(name.lower().encode()) == value.encode("latin-1")
        assert response.get(b"content-type") == b"text/plain"

    def test_the_applications_date_and_server_replace_the_servers(self, client: Connect) -> None:
        response = client(returning([b"x"], [("Date", "today"), ("Server", "mine")])).ask(get())
        assert (response.get(b"date"), response.get(b"server")) == (b"today", b"mine")

    @pytest.mark.parametrize(
        ("status", "headers", "complaint"),
        [
            (200, [], "TypeError: the status of a response must be a str, not int"),
            (b"200 OK", [], "TypeError: the status of a response must be a str, not bytes"),
            ("OK", [], "ValueError: 'OK': expected a status such as '200 OK'"),
            ("20 OK", [], "ValueError: '20 OK': expected a status"),
            ("2000 OK", [], "ValueError: '2000 OK': expected a status"),
            ("100 Continue", [], "ValueError: '100 Continue': expected a status"),
            ("200 O\nK", [], "ValueError: '200 O\\nK': expected a status"),
            ("200 OK", (("A", "1"),), "TypeError: the headers of a response must be a list, not tuple"),
            ("200 OK", [("A", 1)], "TypeError: the value of header 'A' must be a str, not int"),
            ("200 OK", [("A", b"1")], "TypeError: the value of header 'A' must be a str, not bytes"),
            ("200 OK", [(b"A", "1")], "TypeError: the name of a response header must be a str, not bytes"),
            ("200 OK", [("A b", "1")], "ValueError: invalid header name: 'A b'"),
            ("200 OK", [("", "1")], "ValueError: invalid header name: ''"),
            ("200 OK", [("A", "1\r\nB: 2")], "ValueError: invalid value of header 'A'"),
            ("200 OK", [("A", "1\n")], "ValueError: invalid value of header 'A'"),
            ("200 OK", [("A", "\0")], "ValueError: invalid value of header 'A'"),
            ("200 OK", [("A", "\x1b[31m")], "ValueError: invalid value of header 'A'"),
            ("200 OK", [("A", "1\x7f")], "ValueError: invalid value of header 'A'"),
            ("200 OK", [("A", "\u20ac")], "UnicodeEncodeError: 'latin-1' codec can't encode"),
            ("200 OK", [("Content-Length", "-1")], "ValueError: invalid Content-Length: '-1'"),
            ("200 OK", [("Content-Length", "9" * 30)], "ValueError: invalid Content-Length: '9999999999"),
            (
                "200 OK",
                [("Content-Length", "4"), ("content-length", "5")],
                "ValueError: the response has two different Content-Length fields",
            ),
            ("200 OK", [("Connection", "\0")], "ValueError: invalid value of header 'Connection'"),
        ],
    )
    def test_what_cannot_be_sent_is_the_applications_error(
        self, client: Connect, log: Log, status: Any, headers: Any, complaint: str
    ) -> None:
        """It is raised where start_response() is called, and the client is told nothing of it."""
        raised: list[BaseException] = []

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            try:
                start_response(status, headers)
            except Exception as exc:
                raised.append(exc)
                raise
            return [b"unreachable"]

        response = client(app).ask(get())
        assert (response.status, response.body) == (500, b"Internal Server Error")
        (line,) = log()
        assert line.startswith(f"ERROR Exception in ASGI application {complaint}")
        assert len(raised) == 1
        raised.clear()

    def test_what_is_refused_leaves_what_was_said_before(self, client: Connect) -> None:
        def app(environ: Environ, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Length", "4"), ("A", "1")])
            try:
                raise KeyError
            except KeyError:
                with pytest.raises(ValueError, match="invalid value of header 'A'"):
                    start_response("404 Not Found", [("A", "\n")], sys.exc_info())
            return [b"fine"]

        response = client(app).ask(get())
        assert (response.status, response.get(b"a"), response.body) == (200, b"1", b"fine")

    def test_a_str_that_is_another_in_lower_case(self, client: Connect) -> None:
        class Name(str):
            __slots__ = ()

            def lower(self) -> str:
                return "other"

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            name = Name("X-Own") if environ["PATH_INFO"] == "/own" else "X-Own"
            start_response("200 OK", [(name, "1")])
            return []

        connected = client(app)
        assert [connected.ask(get(path)).get(b"x-own") for path in ("/own", "/")] == [b"1", b"1"]

    def test_an_application_that_handles_it_can_answer(self, client: Connect) -> None:
        def app(environ: Environ, start_response: Any) -> list[bytes]:
            with pytest.raises(ValueError, match="A b"):
                start_response("200 OK", [("A b", "1")])
            start_response("200 OK", [])
            return [b"fine"]

        assert client(app).ask(get()).body == b"fine"

    def test_hop_by_hop_headers_are_dropped(self, client: Connect, caplog: pytest.LogCaptureFixture) -> None:
        """They are the server's to send (PEP 3333); each is named in a debug line."""
        caplog.set_level(logging.DEBUG, logger="fastserve.error")
        names = ["Connection", "keep-alive", "Transfer-Encoding", "Upgrade", "TE", "Proxy-Authenticate"]
        headers = [("A", "1"), *((name, "x") for name in names), ("B", "2")]
        connected = client(returning([b"x"], headers))
        for _ in range(2):
            response = connected.ask(get())
            assert (response.status, response.get(b"a"), response.get(b"b"), response.body) == (200, b"1", b"2", b"x")
            assert [response.get(name.lower().encode()) for name in names] == [None] * len(names)
        dropped = [record for record in caplog.records if "hop-by-hop" in record.getMessage()]
        assert [record.args for record in dropped] == [(name,) for name in names] * 2
        assert {record.levelname for record in dropped} == {"DEBUG"}

    def test_an_event_stream_of_flask(self, client: Connect) -> None:
        """The usual recipe names the connection's own headers."""
        app = flask.Flask(__name__)

        @app.get("/")
        def events() -> flask.Response:
            headers = {"Connection": "keep-alive", "Transfer-Encoding": "chunked", "Cache-Control": "no-cache"}
            return flask.Response(iter([b"data: 1\n\n"]), mimetype="text/event-stream", headers=headers)

        connected = client(app)
        for _ in range(2):
            response = connected.ask(get())
            assert (response.status, response.get(b"cache-control"), response.get(b"connection"), response.body) == (
                200,
                b"no-cache",
                None,
                b"data: 1\n\n",
            )
