"""RFC 9112 (HTTP/1.1), sections 2 to 8, over real sockets. The corpus has the many ways to write a request wrongly."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from protocol.apps import Receive, Recorder, Scope, Send, body, echo, read, respond, start, static
from protocol.conftest import Connect
from protocol.wire import GOOD, Wire, chunks
from protocols import PROTOCOLS, protocol_of

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(params=PROTOCOLS)
def http(request: pytest.FixtureRequest) -> str:
    return protocol_of(request)


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the scope."""
    await read(receive)
    seen = {key: value.decode("latin-1") if isinstance(value, bytes) else value for key, value in scope.items()}
    seen["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    await respond(send, json.dumps(seen).encode())


def shown(wire: Wire, request: bytes) -> dict[str, Any]:
    found = wire.ask(request)
    assert found.status == 200
    seen: dict[str, Any] = json.loads(found.body)
    return seen


def streamed(*pieces: bytes) -> Any:
    """Return an application that sends each piece in a message of its own, and no Content-Length."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for piece in pieces:
            await body(send, piece, more=True)
        await body(send)

    return app


class TestSection2Message:
    @pytest.mark.parametrize("minor", range(2, 10))
    def test_2_5_a_later_minor_version_is_served_as_1_1(self, connect: Connect, minor: int) -> None:
        seen = shown(wire := connect(show), b"GET / HTTP/1.%d\r\nHost: a\r\n\r\n" % minor)
        assert seen["http_version"] == "1.1"
        assert wire.ask(GOOD).status == 200

    def test_2_2_an_empty_line_before_the_request_is_skipped(self, connect: Connect) -> None:
        wire = connect(static())
        assert wire.ask(b"\r\n" + GOOD).status == 200
        assert wire.ask(b"\r\n" + GOOD).status == 200

    def test_2_2_white_space_before_the_first_field_is_refused(self, connect: Connect) -> None:
        wire = connect(static())
        assert wire.ask(b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n").status == 400
        assert wire.rest() == b""

    def test_2_2_octets_are_not_decoded_as_text(self, connect: Connect) -> None:
        seen = shown(connect(show), b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\x80\xff\r\n\r\n")
        assert seen["headers"][1] == ["x", "\xe9\x80\xff"]

    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    def test_2_3_the_version_is_what_the_client_said(self, connect: Connect, version: str) -> None:
        assert shown(connect(show), f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode())["http_version"] == version

    def test_2_3_the_answer_to_http_1_0_has_our_own_version(self, connect: Connect) -> None:
        assert connect(static()).send(b"GET / HTTP/1.0\r\n\r\n").rest().startswith(b"HTTP/1.1 200 OK\r\n")

    def test_2_3_other_versions_are_505(self, connect: Connect) -> None:
        found = connect(static()).ask(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n")
        assert (found.status, found.reason, found.body) == (
            505,
            b"HTTP Version Not Supported",
            b"HTTP Version Not Supported",
        )


class TestSection3RequestLine:
    def test_3_1_methods_are_case_sensitive(self, connect: Connect) -> None:
        wire = connect(static())
        assert wire.ask(b"get / HTTP/1.1\r\nHost: a\r\n\r\n").status == 501
        assert wire.rest() == b""

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
    def test_3_1_the_methods_of_rfc_9110_and_5789(self, connect: Connect, method: str) -> None:
        recorder = Recorder()
        wire = connect(recorder)
        assert wire.ask(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode(), method).status == 200
        assert recorder.calls[0].method == method

    def test_3_2_1_origin_form(self, connect: Connect) -> None:
        seen = shown(connect(show), b"GET /a%20b/%c3%a9?c=%20 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert seen["path"] == "/a b/\xe9"
        assert seen["raw_path"] == "/a%20b/%c3%a9"
        assert seen["query_string"] == "c=%20"

    def test_3_2_2_absolute_form(self, connect: Connect) -> None:
        seen = shown(connect(show), b"GET http://a:80/b%20?c HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/b ", "/b%20", "c")
        assert seen["headers"] == [["host", "a:80"]]

    def test_3_2_2_absolute_form_without_a_path(self, connect: Connect) -> None:
        seen = shown(connect(show), b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/", "/", "")

    @pytest.mark.parametrize("version", [b"1.0", b"1.1"])
    def test_3_2_2_an_absolute_form_that_host_contradicts(self, connect: Connect, version: bytes) -> None:
        seen = shown(connect(show), b"GET http://a/ HTTP/%b\r\nX: 1\r\nHost: b\r\nY: 2\r\n\r\n" % version)
        assert seen["headers"] == [["x", "1"], ["host", "a"], ["y", "2"]]

    def test_3_2_2_an_absolute_form_of_http_1_0_without_host(self, connect: Connect) -> None:
        seen = shown(connect(show), b"GET http://a/ HTTP/1.0\r\nX: 1\r\n\r\n")
        assert seen["headers"] == [["host", "a"], ["x", "1"]]

    @pytest.mark.parametrize(
        ("options", "status"),
        [({"proxy_headers": False}, 421), ({"forwarded_allow_ips": "10.0.0.1"}, 421), ({}, 200)],
    )
    def test_an_https_target_needs_tls_or_a_trusted_proxy(
        self, connect: Connect, options: dict[str, Any], status: int
    ) -> None:
        """RFC 9110 section 7.4."""
        found = connect(show, **options).ask(b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (found.status, found.closes) == (status, status == 421)

    def test_3_2_3_authority_form(self, connect: Connect) -> None:
        wire = connect(static())
        assert wire.ask(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n").status == 501
        assert wire.rest() == b""

    def test_3_2_4_asterisk_form(self, connect: Connect) -> None:
        seen = shown(connect(show), b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("*", "*", "")

    def test_3_2_no_redirect_for_a_target_with_white_space(self, connect: Connect) -> None:
        assert connect(static()).ask(b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n").status == 400

    def test_3_2_nothing_of_the_request_is_reflected(self, connect: Connect) -> None:
        raw = connect(static()).send(b"GET /<script> HTTP/1.1\r\nHost: <evil>\r\nX: secret\r\n\r\n").rest()
        assert raw.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert raw.endswith(b"\r\n\r\nBad Request")
        assert b"script" not in raw and b"evil" not in raw and b"secret" not in raw


class TestSection4StatusLine:
    def test_a_reason_phrase(self, connect: Connect) -> None:
        assert (
            connect(static(status=404)).send(b"GET / HTTP/1.0\r\n\r\n").rest().startswith(b"HTTP/1.1 404 Not Found\r\n")
        )

    def test_a_status_without_a_phrase_keeps_its_space(self, connect: Connect) -> None:
        assert connect(static(status=599)).send(b"GET / HTTP/1.0\r\n\r\n").rest().startswith(b"HTTP/1.1 599 \r\n")


class TestSection5Fields:
    def test_5_names_are_lower_case_and_order_is_kept(self, connect: Connect) -> None:
        seen = shown(connect(show), b"GET / HTTP/1.1\r\nB: 1\r\nHost: a\r\nA: 2\r\nb: 3\r\n\r\n")
        assert seen["headers"] == [["b", "1"], ["host", "a"], ["a", "2"], ["b", "3"]]

    def test_5_1_white_space_around_a_value_is_not_part_of_it(self, connect: Connect) -> None:
        seen = shown(connect(show), b"GET / HTTP/1.1\r\nHost:\ta \r\nX: \t b c\t \r\nY:\r\nZ: \r\n\r\n")
        assert seen["headers"] == [["host", "a"], ["x", "b c"], ["y", ""], ["z", ""]]

    def test_5_1_white_space_before_the_colon_is_refused(self, connect: Connect) -> None:
        assert connect(static()).ask(b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n").status == 400

    def test_5_2_obsolete_line_folding_is_refused(self, connect: Connect) -> None:
        assert connect(static()).ask(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n").status == 400

    def test_5_responses_have_one_field_a_line(self, connect: Connect) -> None:
        found = connect(static(headers=[(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"X", b"\xe9")])).ask(GOOD)
        assert found.all(b"set-cookie") == [b"a=1", b"b=2"]
        assert found.get(b"x") == b"\xe9"


class TestSection6Body:
    def test_6_1_the_applications_transfer_encoding_is_ignored(self, connect: Connect) -> None:
        found = connect(static(b"hello", headers=[(b"transfer-encoding", b"gzip, chunked")])).ask(GOOD)
        assert found.get(b"transfer-encoding") is None
        assert found.get(b"content-length") == b"5"

    def test_6_1_no_transfer_encoding_to_http_1_0(self, connect: Connect) -> None:
        raw = connect(streamed(b"a", b"b")).send(b"GET / HTTP/1.0\r\n\r\n").rest()
        head, _, content = raw.partition(b"\r\n\r\n")
        assert content == b"ab"
        assert b"transfer-encoding" not in head and b"content-length" not in head
        assert b"connection: close" in head

    @pytest.mark.parametrize(
        ("value", "status"),
        [(b"gzip, chunked", 501), (b"xchunked", 501), (b"chunked, chunked", 400), (b"chunked, identity", 400)],
    )
    def test_6_1_other_codings(self, connect: Connect, value: bytes, status: int) -> None:
        wire = connect(static())
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + value + b"\r\n\r\n"
        assert wire.ask(head + b"0\r\n\r\n" + GOOD).status == status
        assert wire.rest() == b""

    def test_6_1_transfer_encoding_from_http_1_0(self, connect: Connect) -> None:
        assert connect(static()).ask(CHUNKED.replace(b"/1.1", b"/1.0") + b"0\r\n\r\n").status == 400

    def test_6_2_content_length_of_a_body_in_one_piece(self, connect: Connect) -> None:
        assert connect(static(b"hello")).ask(GOOD).get(b"content-length") == b"5"

    def test_6_2_never_beside_transfer_encoding(self, connect: Connect) -> None:
        found = connect(streamed(b"a")).ask(GOOD)
        assert found.get(b"transfer-encoding") == b"chunked"
        assert found.get(b"content-length") is None

    def test_6_3_rule_3_both(self, connect: Connect) -> None:
        wire = connect(static())
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert wire.ask(head + b"0\r\n\r\n" + GOOD).status == 400
        assert wire.rest() == b""

    def test_6_3_rule_4_chunked(self, connect: Connect) -> None:
        assert connect(echo).ask(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n").body == b"abc"

    @pytest.mark.parametrize("value", [b"", b"+1", b"0x1", b"1_0", b"1, 1", b"-1", b"1 1"])
    def test_6_3_rule_5_content_length_that_is_none(self, connect: Connect, value: bytes) -> None:
        wire = connect(static())
        assert wire.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + value + b"\r\n\r\nx" + GOOD).status == 400
        assert wire.rest() == b""

    def test_6_3_rule_6_content_length(self, connect: Connect) -> None:
        wire = connect(echo)
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        assert wire.ask(request + request[:-1] + b"d").body == b"abc"
        assert wire.response().body == b"abd"

    def test_6_3_rule_7_neither(self, connect: Connect) -> None:
        wire = connect(echo)
        assert wire.ask(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n" + GOOD).body == b""
        assert wire.response().status == 200

    def test_6_3_a_body_larger_than_any_buffer(self, connect: Connect) -> None:
        data = bytes(range(256)) * 20_000
        wire = connect(echo)
        sender = threading.Thread(
            target=wire.send,
            args=(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data) + data,),
        )
        sender.start()
        assert wire.response().body == data
        sender.join(60)


class TestSection7Codings:
    def test_7_1_each_message_is_a_chunk(self, connect: Connect) -> None:
        wire = connect(streamed(b"one", b"fourteen bytes", b"x" * 20_000)).send(GOOD)
        while wire.file.readline() != b"\r\n":
            pass
        assert chunks(wire.file) == [b"one", b"fourteen bytes", b"x" * 20_000]

    def test_7_1_an_empty_message_does_not_end_the_body(self, connect: Connect) -> None:
        wire = connect(streamed(b"", b"a", b"", b"b"))
        assert wire.ask(GOOD).body == b"ab"
        assert wire.ask(GOOD).body == b"ab"

    def test_7_1_an_empty_body_of_unknown_length(self, connect: Connect) -> None:
        wire = connect(streamed())
        assert wire.ask(GOOD).body == b""
        assert wire.ask(GOOD).body == b""

    def test_7_1_1_chunk_extensions_are_dropped(self, connect: Connect) -> None:
        data = b'2;a=b;c="d;e"\r\nab\r\n1;f\r\nc\r\n0;g=h\r\n\r\n'
        assert connect(echo).ask(CHUNKED + data).body == b"abc"

    def test_7_1_1_white_space_around_an_extension_is_refused(self, connect: Connect) -> None:
        """Nobody sends it but to smuggle: refusing is safer than the "bad" white space that the section parses."""
        assert connect(echo).ask(CHUNKED + b"2 ; a = b\r\nab\r\n0\r\n\r\n").status == 400

    def test_7_1_2_trailers_are_dropped(self, connect: Connect) -> None:
        recorder = Recorder()
        wire = connect(recorder)
        assert wire.ask(CHUNKED + b"2\r\nab\r\n0\r\nX-Digest: y\r\n\r\n" + GOOD).status == 200
        assert wire.response().status == 200
        assert recorder.calls[0].body == b"ab"
        assert recorder.calls[0].headers == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
        assert recorder.calls[1].headers == [(b"host", b"good")]

    @pytest.mark.parametrize("name", [b"Content-Type", b"COOKIE", b"authorization", b"Expect"])
    def test_7_1_2_what_a_trailer_cannot_say_is_dropped(self, connect: Connect, name: bytes) -> None:
        wire = connect(echo)
        assert wire.ask(CHUNKED + b"2\r\nab\r\n0\r\n" + name + b": 1\r\n\r\n" + GOOD).body == b"ab"
        assert wire.response().status == 200

    @pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding", b"HOST", b"Trailer", b"TE"])
    def test_7_1_2_forbidden_trailers_are_refused(self, connect: Connect, name: bytes) -> None:
        wire = connect(echo)
        assert wire.ask(CHUNKED + b"0\r\n" + name + b": 1\r\n\r\n" + GOOD).status == 400
        assert wire.rest() == b""

    @pytest.mark.parametrize("size", [b"0x2", b"+2", b"-2", b" 2", b"2 ", b"", b"g", b"1" + b"0" * 16])
    def test_7_1_3_sizes_that_are_none(self, connect: Connect, size: bytes) -> None:
        wire = connect(echo)
        assert wire.ask(CHUNKED + size + b"\r\nab\r\n0\r\n\r\n" + GOOD).status == 400
        assert wire.rest() == b""

    def test_7_1_3_the_limit_on_extensions_and_trailers(self, connect: Connect) -> None:
        wire = connect(echo, limit_request_head=1000)
        assert wire.ask(CHUNKED + b"1;" + b"x" * 2000 + b"\r\na\r\n0\r\n\r\n").status in (400, 431)
        assert wire.rest() == b""


class TestSection8Incomplete:
    def test_a_head_that_ends_early_is_not_executed(self, connect: Connect) -> None:
        recorder = Recorder()
        assert b"HTTP/1.1 2" not in connect(recorder).send(GOOD[:-2]).end().rest()
        assert recorder.calls == []

    @pytest.mark.parametrize(
        "request_start",
        [
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
            CHUNKED + b"3\r\nhel\r\n",
            CHUNKED + b"3\r\nhel\r\n0\r\n",
        ],
    )
    def test_a_body_that_ends_early_is_no_body(self, connect: Connect, request_start: bytes) -> None:
        seen: list[dict[str, Any]] = []
        done = threading.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            while not seen or seen[-1]["type"] != "http.disconnect":
                seen.append(await receive())
            seen.append(await receive())
            done.set()

        raw = connect(app).send(request_start).end().rest()
        assert done.wait(60)
        # The client's fault: it may be told so or not, but not that the server has failed.
        assert raw == b"" or raw.startswith(b"HTTP/1.1 400 ")
        bodies = [message for message in seen if message["type"] == "http.request"]
        assert b"".join(message["body"] for message in bodies) == b"hel"
        assert all(message["more_body"] for message in bodies)
        assert seen[-2:] == [{"type": "http.disconnect"}] * 2
