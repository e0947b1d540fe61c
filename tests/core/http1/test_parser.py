from __future__ import annotations

from typing import Any

import pytest
from fakes.settings import make_settings

from fastserve._core.testing import parse

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
HEADS = b"GET / HTTP/1.1\r\nHost: x\r\n"
Events = list[tuple[Any, ...]]


def joined(events: Events) -> Events:
    """The events with neighbouring pieces of body made one: how a body is cut is not part of the outcome."""
    result: Events = []
    for event in events:
        if result and event[0] == result[-1][0] == "body":
            result[-1] = ("body", result[-1][1] + event[1])
        else:
            result.append(event)
    return result


def requests(data: bytes, **settings: Any) -> Events:
    """All events in `data`, the same however it is cut."""
    config = make_settings(**settings)

    def run(inputs: list[bytes]) -> Events:
        return joined(parse(config, inputs))

    by_bytes = run([data[at : at + 1] for at in range(len(data))])
    assert joined(run([data])) == by_bytes
    for at in range(1, len(data), max(1, len(data) // 200)):
        assert run([data[:at], data[at:]]) == by_bytes, at
    return by_bytes


def fault(data: bytes, **settings: Any) -> int:
    """The status of the fault that `data` ends in."""
    events = requests(data, **settings)
    assert events, "no event"
    assert events[-1][0] == "fault", events
    return int(events[-1][1])


class TestGood:
    def test_head(self) -> None:
        assert requests(GET) == [("head", "GET", b"/a?b", 1, [(b"Host", b"x")], True), ("done",)]

    def test_two_heads(self) -> None:
        assert [event[0] for event in requests(GET + GET)] == ["head", "done", "head", "done"]

    def test_an_empty_line_before_a_request(self) -> None:
        assert [event[0] for event in requests(b"\r\n" + GET)] == ["head", "done"]

    def test_white_space_around_values(self) -> None:
        events = requests(HEADS + b"A: \t b c \t\r\nE:\r\nF:   \r\n\r\n")
        assert events[0][4] == [(b"Host", b"x"), (b"A", b"b c"), (b"E", b""), (b"F", b"")]

    def test_content_length(self) -> None:
        events = requests(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + GET)
        assert [event[0] for event in events] == ["head", "body", "done", "head", "done"]
        assert events[1] == ("body", b"hello")

    @pytest.mark.parametrize("fields", [b"", b"Expect: 100-continue\r\n", b"Connection: close\r\n"])
    def test_bodies_of_requests_in_one_input(self, fields: bytes) -> None:
        one = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" + fields + b"\r\n%b"
        bodies = [b"G", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"0\r\n\r\n"]
        events = requests(b"".join(one % (at, len(body), body) for at, body in enumerate(bodies)) + GET)
        assert [event[0] for event in events] == ["head", "body", "done"] * len(bodies) + ["head", "done"]
        assert [event[1] for event in events if event[0] == "body"] == bodies
        assert [event[2] for event in events if event[0] == "head"] == [b"/0", b"/1", b"/2", b"/3", b"/a?b"]

    def test_a_body_by_its_length_between_chunked_ones(self) -> None:
        sized = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"
        events = requests((CHUNKED + b"1\r\nc\r\n0\r\n\r\n" + sized) * 2)
        assert [event[1] for event in events if event[0] == "body"] == [b"c", b"ab"] * 2

    def test_a_request_after_a_body_is_checked_as_any_other(self) -> None:
        events = requests(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab\0")
        assert [event[:2] for event in events[1:]] == [("body", b"ab"), ("done",), ("fault", 400)]

    def test_the_longest_content_length(self) -> None:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (2**64 - 1)
        events = requests(head + b"ab", limit_request_body=0)
        assert events[1:] == [("body", b"ab")]

    def test_content_length_zero(self) -> None:
        events = requests(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + GET)
        assert [event[0] for event in events] == ["head", "done", "head", "done"]

    @pytest.mark.parametrize(
        ("body", "decoded"),
        [
            (b"0\r\n\r\n", b""),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
            (b"5;a=b;c\r\nhello\r\n0;x\r\n\r\n", b"hello"),
            (b'5;a="b c"\r\nhello\r\n0\r\n\r\n', b"hello"),
            (b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
            (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
            (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
            (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nOther: 2\r\n\r\n", b"hello"),
            (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
        ],
    )
    def test_chunked(self, body: bytes, decoded: bytes) -> None:
        events = requests(CHUNKED + body + GET)
        assert [event[0] for event in events if event[0] != "body"] == ["head", "done", "head", "done"]
        assert b"".join(event[1] for event in events if event[0] == "body") == decoded

    @pytest.mark.parametrize(
        ("line", "fields", "keep_alive"),
        [
            (b"HTTP/1.1", b"", True),
            (b"HTTP/1.1", b"Connection: close\r\n", False),
            (b"HTTP/1.1", b"Connection: foo, CLOSE\r\n", False),
            (b"HTTP/1.1", b"Connection: foo\r\nConnection: close\r\n", False),
            (b"HTTP/1.1", b"Connection: closed\r\n", True),
            (b"HTTP/1.0", b"", False),
            (b"HTTP/1.0", b"Connection: keep-alive\r\n", True),
            (b"HTTP/1.0", b"Connection: keep-alive, close\r\n", False),
        ],
    )
    def test_keep_alive(self, line: bytes, fields: bytes, keep_alive: bool) -> None:
        assert requests(b"GET / " + line + b"\r\nHost: x\r\n" + fields + b"\r\n")[0][5] is keep_alive

    def test_close_does_not_end_the_parsing(self) -> None:
        events = requests(HEADS + b"Connection: close\r\n\r\n" + GET)
        assert [event[0] for event in events] == ["head", "done", "head", "done"]

    def test_upgrade_that_is_not_offered(self) -> None:
        data = HEADS + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab"
        assert [event[0] for event in requests(data + GET)] == ["head", "body", "done", "head", "done"]

    def test_incomplete(self) -> None:
        assert requests(GET[:-1]) == []


class TestBad:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"get / HTTP/1.1\r\n\r\n", 501),
            (b"NOPE / HTTP/1.1\r\n\r\n", 501),
            (b"GETS / HTTP/1.1\r\n\r\n", 501),
            (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
            (b"G\x01T / HTTP/1.1\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00", 400),
            (b" GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
            (b"GET /  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET /\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\n\r\n", 505),
            (b"GET / HTTP/2.1\r\n\r\n", 505),
            (b"GET / HTTP/0.9\r\n\r\n", 505),
            (b"GET / HTTX/1.1\r\n\r\n", 400),
            (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET / HTTP/1.1\nHost: x\n\n", 400),
            (b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
            (HEADS + b" folded\r\n\r\n", 400),
            (HEADS + b"A : b\r\n\r\n", 400),
            (HEADS + b": b\r\n\r\n", 400),
            (HEADS + b"A\r\n\r\n", 400),
            (HEADS + b"A: \x01\r\n\r\n", 400),
            (HEADS + b"A: \0\r\n\r\n", 400),
            (HEADS + b"A: \x7f\r\n\r\n", 400),
            (HEADS + b"A: \rb: c\r\n\r\n", 400),
            (HEADS + b"\xe4: b\r\n\r\n", 400),
            (HEADS + b"\rX", 400),
            (HEADS + b"Expect: 100-continue, x\r\n\r\n", 417),
        ],
    )
    def test_heads(self, data: bytes, status: int) -> None:
        assert fault(data) == status

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            (b"Content-Length: 2\r\nContent-Length: 2\r\n", 400),
            (b"Content-Length: 2, 2\r\n", 400),
            (b"Content-Length: +2\r\n", 400),
            (b"Content-Length: -2\r\n", 400),
            (b"Content-Length: 0x2\r\n", 400),
            (b"Content-Length: 1_0\r\n", 400),
            (b"Content-Length:\r\n", 400),
            (b"Content-Length: 2 2\r\n", 400),
            (b"Content-Length: 99999999999999999999\r\n", 400),
            (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400),
            (b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", 400),
            (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
            (b"Transfer-Encoding: chunked, gzip\r\n", 400),
            (b"Transfer-Encoding: chunked, chunked\r\n", 400),
            (b"Transfer-Encoding: chunked\r\n , identity\r\n", 400),
            (b"Transfer-Encoding: \x0bchunked\r\n", 400),
            (b"Transfer-Encoding:\r\n", 400),
            (b"Transfer-Encoding: xchunked\r\n", 501),
            (b"Transfer-Encoding: gzip\r\n", 501),
            (b"Transfer-Encoding: gzip, chunked\r\n", 501),
        ],
    )
    def test_framing(self, fields: bytes, status: int) -> None:
        assert fault(b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\nab") == status

    @pytest.mark.parametrize("host", [b",", b"x,", b""])
    def test_a_host_after_a_valid_one(self, host: bytes) -> None:
        assert fault(GET * 2 + GET.replace(b": x", b": " + host)) == 400

    def test_chunked_in_http_1_0(self) -> None:
        assert fault(CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n") == 400

    @pytest.mark.parametrize(
        "body",
        [
            b"2\r\nabXX0\r\n\r\n",
            b"2;a\nb\r\nab\r\n0\r\n\r\n",
            b"0x2\r\nab\r\n0\r\n\r\n",
            b"-2\r\nab\r\n0\r\n\r\n",
            b"2 \r\nab\r\n0\r\n\r\n",
            b" 2\r\nab\r\n0\r\n\r\n",
            b"\r\nab\r\n0\r\n\r\n",
            b"2\nab\r\n0\r\n\r\n",
            b"2\r\nab\n0\r\n\r\n",
            b"g\r\nab\r\n0\r\n\r\n",
            b"11111111111111111\r\nab",
            b"2\r\nab\r\n0\r\nContent-Length: 1\r\n\r\n",
            b"2\r\nab\r\n0\r\nHOST: x\r\n\r\n",
            b"2\r\nab\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"2\r\nab\r\n0\r\nA : b\r\n\r\n",
            b"2\r\nab\r\n0\r\nA: b\n\r\n",
            b"2\r\nab\r\n0\r\n\rX",
        ],
    )
    def test_chunks(self, body: bytes) -> None:
        events = requests(CHUNKED + body + GET)
        assert events[-1][:2] == ("fault", 400)
        assert b"".join(event[1] for event in events if event[0] == "body") in (b"", b"ab")
        assert sum(event[0] == "head" for event in events) == 1

    def test_nothing_after_a_fault(self) -> None:
        events = parse(make_settings(), [b"GET /\r\n\r\n", GET, GET])
        assert [event[0] for event in events] == ["fault"]


class TestLimits:
    def test_request_line(self) -> None:
        line = b"GET /" + b"a" * 84 + b" HTTP/1.1"
        assert requests(line + b"\r\nHost: x\r\n\r\n", limit_request_line=len(line))[0][0] == "head"
        assert fault(line + b"\r\nHost: x\r\n\r\n", limit_request_line=len(line) - 1) == 414

    def test_request_line_without_an_end(self) -> None:
        assert fault(b"GET /" + b"a" * 200, limit_request_line=100) == 414
        assert fault(b"G" * 200, limit_request_line=100) in (414, 501)

    def test_head(self) -> None:
        data = HEADS + b"A: " + b"b" * 100 + b"\r\n\r\n"
        assert requests(data, limit_request_head=len(data))[0][0] == "head"
        assert fault(data, limit_request_head=len(data) - 1) == 431

    def test_head_of_many_small_fields(self) -> None:
        assert fault(HEADS + b"A:\r\n" * 100, limit_request_head=200) == 431

    def test_head_without_an_end(self) -> None:
        assert fault(HEADS + b"A: " + b"b" * 300, limit_request_head=200) == 431
        assert fault(HEADS + b"a" * 300, limit_request_head=200) == 431
        assert fault(HEADS + b"A:" + b" " * 300, limit_request_head=200) == 431

    def test_fields(self) -> None:
        data = HEADS + b"A: b\r\n" * 4 + b"\r\n"
        assert len(requests(data, limit_request_fields=5)[0][4]) == 5
        assert fault(data, limit_request_fields=4) == 431

    def test_more_fields_than_there_is_room_for_at_first(self) -> None:
        sent = [(b"N%d" % number, b"%d" % number) for number in range(300)]
        data = HEADS + b"".join(b"%s: %s\r\n" % field for field in sent) + b"\r\n"
        assert requests(data, limit_request_fields=301)[0][4] == [(b"Host", b"x"), *sent]
        assert fault(data, limit_request_fields=300) == 431

    def test_body_by_its_length(self) -> None:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        assert requests(head % 5 + b"hello", limit_request_body=5)[-1] == ("done",)
        assert fault(head % 6, limit_request_body=5) == 413

    def test_chunked_body(self) -> None:
        body = b"3\r\nabc\r\n2\r\nde\r\n"
        assert requests(CHUNKED + body + b"0\r\n\r\n", limit_request_body=5)[-1] == ("done",)
        events = requests(CHUNKED + body + b"1\r\nf\r\n0\r\n\r\n", limit_request_body=5)
        assert events[-1][:2] == ("fault", 413)
        assert events[1] == ("body", b"abcde")

    @pytest.mark.parametrize(
        "body", [b"1;" + b"a" * 300, b"1;a=" + b"b" * 300, b"0\r\nA: " + b"b" * 300, b"0\r\n" + b"A: b\r\n" * 150]
    )
    def test_extensions_and_trailers(self, body: bytes) -> None:
        assert fault(CHUNKED + body, limit_request_head=200) == 431

    def test_extensions_of_many_chunks(self) -> None:
        assert fault(CHUNKED + b"1;aaaaaaaaaa\r\nx\r\n" * 100, limit_request_head=200) == 431

    @pytest.mark.parametrize(
        ("data", "status", "limits"),
        [
            (b"GET /" + b"a" * 60 + b"\x7f", 414, {"limit_request_line": 40}),
            (b"GET /" + b"a" * 26 + b"\x7f", 400, {"limit_request_line": 40}),
            (b"GET /" + b"a" * 500 + b" HTTP/1.1\r\n", 431, {"limit_request_line": 450, "limit_request_head": 300}),
            (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n", 414, {"limit_request_line": 300, "limit_request_head": 301}),
            (b"\r\n" * 200 + GET, 414, {"limit_request_line": 300, "limit_request_head": 350}),
            (b"\r\n" * 40 + b"GEX / ", 414, {"limit_request_line": 60}),
            (b"X" * 61 + b"\0", 501, {"limit_request_line": 60}),
            (b"X" * 60 + b"\0", 400, {"limit_request_line": 60}),
            (HEADS + b"A: " + b"b" * 200 + b"\0", 431, {"limit_request_head": 120}),
            (HEADS + b"A" * 200 + b"\0", 431, {"limit_request_head": 120}),
            (HEADS + b"A: " + b" " * 200 + b"\0", 431, {"limit_request_head": 120}),
            (HEADS + b"A" * 20 + b"\0", 431, {"limit_request_fields": 1}),
            (HEADS + b"\0", 400, {"limit_request_fields": 1}),
            (HEADS + b"A" * 200, 431, {"limit_request_fields": 1, "limit_request_head": 120}),
            (HEADS + b"A: " + b"b" * 200 + b"\r\nC", 431, {"limit_request_fields": 2, "limit_request_head": 230}),
            (HEADS + b"A: " + b"b" * 200 + b"\r\nC", 431, {"limit_request_fields": 2, "limit_request_head": 228}),
            (CHUNKED + b"1;" + b"e" * 200 + b"\0", 431, {"limit_request_head": 120}),
            (CHUNKED + b"0\r\n" + b"t" * 200 + b"\0", 431, {"limit_request_head": 120}),
        ],
    )
    def test_what_is_too_long_before_it_is_malformed(self, data: bytes, status: int, limits: dict[str, int]) -> None:
        """Of two faults in one span the first one counts, wherever the bytes were cut."""
        assert fault(data, **limits) == status
