"""RFC 9110 (HTTP semantics), in section order, over real sockets."""

from __future__ import annotations

import datetime
import email.utils
import re
import select
from http import HTTPStatus
from typing import Any

import pytest
from protocol.apps import Gate, Headers, Receive, Recorder, Scope, Send, body, echo, read, respond, start, static
from protocol.conftest import Connect, MakeNet
from protocol.wire import GOOD, responses

HEAD = GOOD.replace(b"GET", b"HEAD")
IMF_FIXDATE = re.compile(rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [JFMASOND][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


def post(headers: str = "", version: str = "1.1") -> bytes:
    return f"POST / HTTP/{version}\r\nHost: a\r\nContent-Length: 2\r\n{headers}\r\n".encode()


def in_pieces(*pieces: bytes, status: int = 200, headers: Headers = ()) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, status, headers)
        for piece in pieces[:-1]:
            await body(send, piece, more=True)
        await body(send, pieces[-1])

    return app


class TestSection5Fields:
    @pytest.mark.parametrize(
        "field",
        [
            (b"x", b"a\r\nb: c"),
            (b"x", b"a\nb"),
            (b"x", b"a\rb"),
            (b"x", b"a\0b"),
            (b"x y", b"a"),
            (b"x:", b"a"),
            (b"", b"a"),
            (b"x\r\ny", b"a"),
            (b"\xe9", b"a"),
            (b"x\0", b"a"),
            (b"(x)", b"a"),
        ],
        ids=repr,
    )
    def test_5_5_a_field_that_no_message_can_have(self, connect: Connect, field: tuple[bytes, bytes]) -> None:
        wire = connect(static(b"secret", headers=[(b"x-first", b"leak"), field, (b"x-last", b"leak")]))
        raw = wire.send(GOOD).rest()
        (found,) = responses(raw)
        assert (found.status, found.body, found.closes) == (500, b"Internal Server Error", True)
        assert b"leak" not in raw and b"secret" not in raw


class TestSection6Message:
    def test_6_6_1_date_is_an_imf_fixdate_of_now(self, connect: Connect) -> None:
        before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        date = connect(static()).ask(GOOD).get(b"date")
        after = datetime.datetime.now(datetime.timezone.utc)
        assert date is not None and IMF_FIXDATE.fullmatch(date)
        second = datetime.timedelta(seconds=1)  # the coarse clock is a few milliseconds behind
        assert before - second <= email.utils.parsedate_to_datetime(date.decode()) <= after

    def test_6_6_1_the_applications_date_is_the_only_one(self, connect: Connect) -> None:
        date = b"Sun, 06 Nov 1994 08:49:37 GMT"
        assert connect(static(headers=[(b"Date", date)])).ask(GOOD).all(b"date") == [date]

    def test_6_6_1_no_date_where_it_is_switched_off(self, connect: Connect) -> None:
        assert connect(static(), date_header=False).ask(GOOD).get(b"date") is None

    def test_6_6_1_the_servers_own_answers_have_a_date(self, connect: Connect) -> None:
        date = connect(static()).ask(b"bad\r\n\r\n").get(b"date")
        assert date is not None and IMF_FIXDATE.fullmatch(date)


class TestSection7Routing:
    @pytest.mark.parametrize("host", ["", "a,b", "u@a", "a/b", "a b", "a:b", "<a>", "\xe9", "[::1", "a\\b"])
    def test_7_2_a_host_that_cannot_be_one(self, connect: Connect, host: str) -> None:
        wire = connect(static())
        assert wire.ask(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1") + GOOD).status == 400
        assert wire.rest() == b""

    @pytest.mark.parametrize("lines", [b"", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nhost: a\r\n"])
    def test_7_2_none_or_two(self, connect: Connect, lines: bytes) -> None:
        assert connect(static()).ask(b"GET / HTTP/1.1\r\n" + lines + b"\r\n").status == 400

    @pytest.mark.parametrize("host", ["a", "a:80", "a:", "127.0.0.1", "[::1]", "[::1]:8000", "a-b.c_d", "A%41"])
    def test_7_2_a_host_that_can_be_one(self, connect: Connect, host: str) -> None:
        assert connect(static()).ask(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).status == 200

    def test_7_2_none_in_http_1_0(self, connect: Connect) -> None:
        assert connect(static()).ask(b"GET / HTTP/1.0\r\n\r\n").status == 200

    @pytest.mark.parametrize(("protocol", "ws"), [(b"foo", "auto"), (b"h2c", "auto"), (b"websocket", "none")])
    def test_7_8_an_upgrade_that_is_not_offered(
        self, connect: Connect, caplog: pytest.LogCaptureFixture, protocol: bytes, ws: str
    ) -> None:
        wire = connect(static(), ws=ws)
        upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n"
        assert [wire.ask(upgrade).status, wire.ask(upgrade + GOOD).status, wire.response().status] == [200] * 3
        assert caplog.messages.count("Unsupported upgrade request.") == 2


class TestSection8Content:
    @pytest.mark.parametrize("status", [204, 304])
    def test_8_6_no_body_is_written(self, connect: Connect, status: int) -> None:
        wire = connect(static(b"body", status))
        assert wire.ask(GOOD + GOOD).status == status
        assert wire.response().status == status
        assert wire.end().rest() == b""

    def test_8_6_no_content_length_on_204(self, connect: Connect) -> None:
        wire = connect(static(b"", 204, [(b"content-length", b"4")]))
        found = wire.ask(GOOD)
        assert found.get(b"content-length") is None and found.get(b"transfer-encoding") is None
        assert wire.ask(GOOD).status == 204

    def test_8_6_content_length_on_304_is_kept(self, connect: Connect) -> None:
        wire = connect(static(b"", 304, [(b"content-length", b"4")]))
        assert [wire.ask(GOOD).get(b"content-length"), wire.ask(GOOD).status] == [b"4", 304]

    def test_8_6_none_is_made_up_for_304(self, connect: Connect) -> None:
        assert connect(static(b"", 304)).ask(GOOD).get(b"content-length") is None

    def test_8_6_content_length_of_the_application(self, connect: Connect) -> None:
        found = connect(in_pieces(b"a", b"bc", headers=[(b"Content-Length", b"3")])).ask(GOOD)
        assert (found.get(b"content-length"), found.get(b"transfer-encoding"), found.body) == (b"3", None, b"abc")

    @pytest.mark.parametrize("value", [b"", b"-1", b"+2", b"0x2", b"2, 2", b"two", b"9" * 30])
    def test_8_6_content_length_of_the_application_that_is_none(self, connect: Connect, value: bytes) -> None:
        wire = connect(static(b"ok", headers=[(b"content-length", value)]))
        assert wire.ask(GOOD).status == 500
        assert wire.rest() == b""

    def test_8_6_two_that_differ(self, connect: Connect) -> None:
        assert connect(static(headers=[(b"content-length", b"2"), (b"content-length", b"3")])).ask(GOOD).status == 500

    def test_8_6_two_that_are_equal_leave_as_one(self, connect: Connect) -> None:
        found = connect(static(headers=[(b"content-length", b"2"), (b"content-length", b"2")])).ask(GOOD)
        assert found.all(b"content-length") == [b"2"]

    @pytest.mark.parametrize("pieces", [[b"abc"], [b"ab", b"c"], [b"a", b"b", b"c"], [b"ab", b"c", b""]])
    def test_8_6_a_body_longer_than_content_length(self, net: MakeNet, pieces: list[bytes]) -> None:
        made = net(in_pieces(*pieces, headers=[(b"content-length", b"2")]))
        client = made.connect().feed(GOOD + GOOD)
        head, _, content = client.output.partition(b"\r\n\r\n")
        assert client.server_closed
        assert (head.startswith(b"HTTP/1.1 500 ") and content == b"Internal Server Error") or (
            head.startswith(b"HTTP/1.1 200 ") and b"abc" not in content and len(content) <= 2
        )
        assert client.output.count(b"HTTP/1.1") == 1
        assert any("Exception in ASGI application" in line for line in made.errors)

    @pytest.mark.parametrize("pieces", [[b""], [b"a"], [b"a", b""]])
    def test_8_6_a_body_shorter_than_content_length(self, net: MakeNet, pieces: list[bytes]) -> None:
        made = net(in_pieces(*pieces, headers=[(b"content-length", b"2")]))
        client = made.connect().feed(GOOD + GOOD)
        assert client.server_closed
        assert client.output.count(b"HTTP/1.1") == 1
        head, _, content = client.output.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 ") or content == b"a"
        assert any("Exception in ASGI application" in line for line in made.errors)


class TestSection9Methods:
    @pytest.mark.parametrize(
        "app", [static(b"hello"), in_pieces(b"hello"), in_pieces(b"a", b"b", headers=[(b"content-length", b"2")])]
    )
    def test_9_3_2_head_has_the_fields_of_get_and_no_body(self, connect: Connect, app: Any) -> None:
        wire = connect(app, date_header=False)
        expected = wire.ask(GOOD)
        found = wire.ask(HEAD, "HEAD")
        assert (found.status, found.headers) == (expected.status, expected.headers)
        assert wire.ask(HEAD + GOOD, "HEAD").status == 200
        assert wire.response().body == expected.body

    def test_9_3_2_head_of_a_stream(self, connect: Connect) -> None:
        wire = connect(in_pieces(b"a", b"b"))
        assert wire.ask(HEAD + GOOD, "HEAD").get(b"content-length") is None
        assert wire.response().body == b"ab"

    def test_9_3_2_head_with_the_length_alone(self, connect: Connect) -> None:
        wire = connect(static(b"", headers=[(b"content-length", b"10")]))
        assert wire.ask(HEAD, "HEAD").get(b"content-length") == b"10"
        assert wire.ask(HEAD, "HEAD").status == 200

    def test_9_3_2_the_servers_own_answer_to_head(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise ValueError("on purpose")

        wire = connect(app)
        found = wire.ask(HEAD, "HEAD")
        assert (found.status, found.get(b"content-length")) == (500, b"21")
        assert wire.rest() == b""

    def test_9_3_6_connect(self, connect: Connect) -> None:
        recorder = Recorder()
        wire = connect(recorder)
        assert wire.ask(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + GOOD).status == 501
        assert wire.rest() == b""
        assert recorder.calls == []

    def test_9_3_7_options_asterisk(self, connect: Connect) -> None:
        recorder = Recorder()
        assert connect(recorder).ask(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
        assert recorder.calls[0].target == "*"


class TestSection10Context:
    def test_10_1_1_continue_comes_at_the_first_receive(self, connect: Connect) -> None:
        gate = Gate()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send, await read(receive) or b"")

        wire = connect(app).send(post("Expect: 100-continue\r\n"))
        assert gate.reached.wait(60)
        assert not select.select([wire.sock], [], [], 0)[0]
        gate.open()
        interim = wire.response()
        assert (interim.status, interim.reason, interim.headers) == (100, b"Continue", [])
        found = wire.ask(b"hi")
        assert (found.status, found.body, found.closes) == (200, b"hi", False)

    def test_10_1_1_continue_comes_once(self, connect: Connect) -> None:
        wire = connect(echo)
        assert wire.ask(post("Expect: 100-continue\r\n")).status == 100
        assert [wire.send(b"h").ask(b"i").body, wire.ask(GOOD).status] == [b"hi", 200]

    def test_10_1_1_continue_for_a_chunked_body(self, connect: Connect) -> None:
        wire = connect(echo)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert wire.ask(head).status == 100
        assert wire.ask(b"2\r\nhi\r\n0\r\n\r\n").body == b"hi"

    def test_10_1_1_continue_goes_before_a_head_that_is_held(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await start(send)
            await body(send, await read(receive) or b"")

        wire = connect(app)
        assert wire.ask(post("Expect: 100-continue\r\n")).status == 100
        assert wire.ask(b"hi").body == b"hi"

    def test_10_1_1_no_continue_when_the_final_response_went_first(self, connect: Connect) -> None:
        wire = connect(static(b"no", 403))
        found = wire.ask(post("Expect: 100-continue\r\n"))
        assert (found.status, found.closes) == (403, True)
        assert wire.rest() == b""

    def test_10_1_1_no_continue_behind_a_final_head(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await start(send)
            await body(send, b"a", more=True)
            await read(receive)
            await body(send, b"b")

        wire = connect(app).send(post("Expect: 100-continue\r\n"))
        head = b""
        while not head.endswith(b"a\r\n"):
            head += wire.file.readline()
        raw = wire.send(b"hi").rest()
        assert head.count(b"HTTP/1.1") == 1
        assert raw == b"1\r\nb\r\n0\r\n\r\n"

    def test_10_1_1_no_continue_without_a_body(self, connect: Connect) -> None:
        wire = connect(echo)
        assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n").status == 200

    def test_10_1_1_no_continue_for_http_1_0(self, connect: Connect) -> None:
        wire = connect(echo)
        assert wire.send(post("Expect: 100-continue\r\n", "1.0")).ask(b"hi").body == b"hi"

    def test_10_1_1_other_expectations(self, connect: Connect) -> None:
        wire = connect(echo)
        found = wire.ask(post("Expect: 102-processing\r\n"))
        assert (found.status, found.body, found.closes) == (417, b"Expectation Failed", True)
        assert wire.rest() == b""

    def test_10_2_4_server(self, connect: Connect) -> None:
        assert connect(static()).ask(GOOD).all(b"server") == [b"fastserve"]

    def test_10_2_4_the_applications_server_is_the_only_one(self, connect: Connect) -> None:
        assert connect(static(headers=[(b"Server", b"mine")])).ask(GOOD).all(b"server") == [b"mine"]

    def test_10_2_4_no_server_where_it_is_switched_off(self, connect: Connect) -> None:
        wire = connect(static(), server_header=False)
        assert wire.ask(GOOD).get(b"server") is None
        assert wire.ask(b"bad\r\n\r\n").get(b"server") is None


class TestSection15Status:
    @pytest.mark.parametrize("status", [200, 201, 206, 226, 301, 400, 404, 418, 451, 500, 511, 599, 999])
    def test_15_with_a_body(self, connect: Connect, status: int) -> None:
        wire = connect(static(b"x", status))
        found = [wire.ask(GOOD), wire.ask(GOOD)]
        assert [(each.status, each.body) for each in found] == [(status, b"x")] * 2

    @pytest.mark.parametrize("status", [0, 99, 1000, -200, "200", None, 200.0])
    def test_15_a_status_that_is_none(self, connect: Connect, status: Any) -> None:
        wire = connect(static(status=status))
        assert wire.ask(GOOD).status == 500
        assert wire.rest() == b""

    @pytest.mark.parametrize("status", [100, 101, 103, 199, HTTPStatus.CONTINUE])
    @pytest.mark.parametrize("pieces", [(b"body",), (b"bo", b"dy")])
    def test_15_2_no_final_response_has_an_interim_status(
        self, connect: Connect, status: int, pieces: tuple[bytes, ...]
    ) -> None:
        wire = connect(in_pieces(*pieces, status=status))
        found = wire.ask(GOOD)
        assert (found.status, found.body, found.closes) == (500, b"Internal Server Error", True)
        assert wire.rest() == b""

    def test_15_own_answers_say_nothing_but_their_reason(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise ValueError("a secret")

        wire = connect(app)
        raw = wire.send(b"GET /secret HTTP/1.1\r\nHost: secret\r\n\r\n").rest()
        (found,) = responses(raw)
        assert (found.status, found.reason) == (500, b"Internal Server Error")
        assert found.get(b"content-type") == b"text/plain; charset=utf-8"
        assert (found.body, found.closes) == (b"Internal Server Error", True)
        assert b"secret" not in raw
