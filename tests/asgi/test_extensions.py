"""The items of the ASGI checklist on extensions of HTTP responses (9, 35, 65, 68 to 70)."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
import support
from asgi.gates import Gate
from asgi.messages import START, body, hint, pathsend, raised_by, sends, start, trailers
from core.responses import Client
from fakes.worker import get, respond

Connect = Callable[..., Client]
Log = Callable[[], list[str]]


@pytest.fixture(params=["auto", "http2"])
def http(request: pytest.FixtureRequest) -> str:
    wire: str = request.param
    return wire


@pytest.mark.parametrize("sendfile", [False, True])
def test_item_9_what_is_offered(client: Connect, sendfile: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert all(value == {} for value in scope["extensions"].values())
        scope["extensions"]["of.the.application"] = {}
        await respond(send, " ".join(scope["extensions"]).encode())

    connected = client(app, sendfile=sendfile)
    files = b"fastserve.topics http.response.zerocopysend" + b" http.response.pathsend" * sendfile
    always = b"http.response.early_hint " + files
    assert connected.ask(get()).body == always + b" of.the.application"
    asked = connected.ask(get("/", "TE: gzip;q=0.5, Trailers")).body
    assert asked == always + b" http.response.trailers of.the.application"
    assert connected.ask(b"GET / HTTP/1.0\r\nTE: trailers\r\n\r\n").body == files + b" of.the.application"


@pytest.mark.parametrize("kind", ["http.response.push", "http.response.debug", "http.response.trailers"])
def test_items_65_and_70_not_offered(client: Connect, log: Log, kind: str) -> None:
    app, errors = raised_by(START, {"type": kind, "path": "/", "headers": []})
    assert client(app).ask(get()).status == 500
    assert errors[0].text == f"Expected ASGI message 'http.response.body', but got '{kind}'."
    log()


SUBSCRIBE = {"type": "fastserve.topics.subscribe", "subscription": None}


@pytest.mark.parametrize(
    ("messages", "kind"),
    [((SUBSCRIBE,), RuntimeError), ((START, SUBSCRIBE), TypeError), ((START, {**SUBSCRIBE, "x": 1}), TypeError)],
)
def test_item_71_refused(client: Connect, log: Log, messages: tuple[Any, ...], kind: type[Exception]) -> None:
    app, errors = raised_by(*messages)
    assert client(app).ask(get()).status == 500
    assert errors[0].kind is kind
    log()


class TestEarlyHint:
    def raw(self, connected: Client) -> bytes:
        connected.send(get("/", "Connection: close"))
        return connected.rest()

    def test_item_68_before_the_final_head(self, client: Connect) -> None:
        messages = (
            START,
            hint(b"</a.css>; rel=preload", bytearray(b"</b.js>; rel=preload")),
            hint(b"</c>"),
            body(b"x"),
        )
        interim, more, head, content = self.raw(client(sends(*messages))).split(b"\r\n\r\n")
        assert interim == b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>; rel=preload"
        assert more == b"HTTP/1.1 103 Early Hints\r\nlink: </c>"
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert content == b"x"

    def test_item_68_before_the_start(self, client: Connect) -> None:
        parts = self.raw(client(sends(hint(b"</a>"), START, body(b"x")))).split(b"\r\n\r\n")
        assert parts[0] == b"HTTP/1.1 103 Early Hints\r\nlink: </a>"
        assert len(parts) == 3

    def test_item_68_leaves_at_once(self, client: Connect) -> None:
        gate = Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(hint(b"</a>"))
            await gate.wait()
            await respond(send, b"x")

        connected = client(app)
        connected.send(get())
        assert connected.read_until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        gate.open()
        assert connected.read().body == b"x"

    def test_item_68_not_behind_the_head(self, client: Connect) -> None:
        assert b"103" not in self.raw(client(sends(START, body(b"x", True), hint(b"</a>"), body(b"y"))))

    def test_item_68_not_to_http_1_0(self, client: Connect) -> None:
        connected = client(sends(START, hint(b"</a>"), body(b"x")))
        assert connected.ask(b"GET / HTTP/1.0\r\n\r\n").body == b"x"

    def test_item_68_real_client(self, serve: support.Serve) -> None:
        response = httpx.get(serve(sends(START, hint(b"</a>"), body(b"x"))).url, timeout=support.PATIENCE)
        assert (response.status_code, response.content) == (200, b"x")

    @pytest.mark.parametrize("link", [b"</a>\r\nx: y", b"a\n", b"\0", b"</a>\x1b", b"\x7f", "</a>"])
    def test_item_68_wrong_links_are_500(self, client: Connect, log: Log, link: Any) -> None:
        app, errors = raised_by(START, hint(link))
        connected = client(app)
        assert connected.ask(get()).status == 500
        assert errors[0].kind in (ValueError, TypeError)
        log()


TE = "TE: trailers"


class TestTrailers:
    def raw(self, connected: Client, *fields: str, method: str = "GET") -> bytes:
        connected.send(get("/", "Connection: close", *fields, method=method))
        return connected.rest()

    @pytest.mark.parametrize(
        "bodies", [[body(b"hello")], [body(b"he", True), body(b"llo")], [body(b"hello", True), body(b"")]]
    )
    def test_items_35_and_69(self, client: Connect, bodies: list[Any]) -> None:
        app = sends(start((b"trailer", b"digest"), trailers=True), *bodies, trailers((b"Digest", b"abc")))
        answer = self.raw(client(app), TE)
        assert b"transfer-encoding: chunked\r\n" in answer
        assert answer.endswith(b"\r\n0\r\ndigest: abc\r\n\r\n")

    def test_item_69_te_in_two_fields(self, client: Connect) -> None:
        answer = self.raw(client(sends(start(trailers=True), body(b"x"), trailers((b"a", b"1")))), TE + "\r\nTE: gzip")
        assert answer.endswith(b"\r\n0\r\na: 1\r\n\r\n")

    def test_item_69_in_several_messages(self, client: Connect) -> None:
        messages = (trailers((b"a", b"1"), more=True), trailers((b"b", b"2"), (b"b", b"3"), more=True), trailers())
        answer = self.raw(client(sends(start(trailers=True), body(b"x"), *messages)), TE)
        assert answer.endswith(b"\r\n0\r\na: 1\r\nb: 2\r\nb: 3\r\n\r\n")

    def test_item_69_real_client_goes_on(self, serve: support.Serve) -> None:
        """http.client reads a trailer section and keeps the connection."""
        running = serve(sends(start(trailers=True), body(b"x"), trailers((b"a", b"1"))))
        connection = HTTPConnection(running.host, running.port, timeout=60)
        for _ in range(3):
            connection.request("GET", "/", headers={"TE": "trailers"})
            assert connection.getresponse().read() == b"x"
        connection.close()

    def test_item_69_not_asked_for(self, client: Connect) -> None:
        answer = self.raw(client(sends(start(trailers=True), body(b"x"), trailers((b"a", b"1")))))
        assert answer.endswith(b"\r\n\r\n1\r\nx\r\n0\r\n\r\n")

    def test_item_69_with_content_length(self, client: Connect) -> None:
        """There is no place for trailers after a body of known length."""
        app = sends(start((b"content-length", b"1"), trailers=True), body(b"x"), trailers((b"a", b"1")))
        connected = client(app)
        for _ in range(2):
            assert connected.ask(get("/", TE)).body == b"x"

    def test_item_69_head_and_http_1_0(self, client: Connect) -> None:
        app = sends(start(trailers=True), body(b"x"), trailers((b"a", b"1")))
        assert self.raw(client(app), TE, method="HEAD").endswith(b"\r\n\r\n")
        assert client(app).ask(b"GET / HTTP/1.0\r\nTE: trailers\r\n\r\n").body == b"x"

    def test_item_35_the_response_waits_for_them(self, client: Connect) -> None:
        gate = Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start(trailers=True))
            await send(body(b"x"))
            await gate.wait()
            await send(trailers((b"a", b"1")))

        connected = client(app)
        connected.send(get("/", TE))
        connected.read_until(b"\r\n\r\n1\r\nx\r\n")
        gate.open()
        assert connected.read_until(b"a: 1\r\n\r\n") == b"0\r\na: 1\r\n\r\n"
        connected.send(get("/", TE))
        assert connected.read_until(b"a: 1\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")

    def test_item_35_never_sent(self, client: Connect, log: Log) -> None:
        answer = self.raw(client(sends(start(trailers=True), body(b"x"))), TE)
        assert answer.endswith(b"1\r\nx\r\n")
        assert log() == ["ERROR ASGI callable returned without completing response."]

    def test_item_69_behind_a_file(self, client: Connect) -> None:
        app = sends(start(trailers=True), pathsend(__file__), trailers((b"a", b"1")))
        content = Path(__file__).read_bytes()
        assert self.raw(client(app), TE).endswith(content + b"\r\n0\r\na: 1\r\n\r\n")

    @pytest.mark.parametrize(
        "field",
        [
            (b"content-length", b"1"),
            (b"Transfer-Encoding", b"x"),
            (b"a b", b""),
            (b"", b""),
            (b"a", b"1\r\nb: 2"),
            (b"a", b"\x1b[31m"),
            (b"a", b"1\x7f"),
            (b":a", b""),
        ],
    )
    def test_item_69_wrong_fields_break_off(self, client: Connect, log: Log, field: Any) -> None:
        app, errors = raised_by(start(trailers=True), body(b"x"), trailers((b"good", b"1"), field))
        assert self.raw(client(app), TE).endswith(b"1\r\nx\r\n")
        assert errors[0].kind is ValueError
        log()

    def test_item_35_not_a_body_again(self, client: Connect, log: Log) -> None:
        app, errors = raised_by(start(trailers=True), body(b"x"), body(b"y"))
        self.raw(client(app), TE)
        assert errors[0].text == "Expected ASGI message 'http.response.trailers', but got 'http.response.body'."
        log()
