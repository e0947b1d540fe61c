from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fakes.settings import make_settings

from fastserve._core.loop.clock import Clock
from fastserve._core.testing import date_of, encode_head

Headers = list[tuple[bytes, bytes]]
BARE = make_settings(server=None, date=False)
CONTROLS = {*range(32), 127} - {ord("\t")}  # what no field value can have (RFC 9110 section 5.5)


@pytest.fixture
def clock() -> Iterator[Clock]:
    loop = asyncio.new_event_loop()
    yield Clock(loop, make_settings())
    loop.close()


def test_a_head(clock: Clock) -> None:
    head = encode_head(make_settings(), clock, 200, [(b"Content-Type", b"text/plain"), (b"X", b"")], 5)
    assert head == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx: \r\ndate: " + date_of(clock) +
        b"\r\nserver: fastserve\r\ncontent-length: 5\r\n\r\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK"),
        (404, b"HTTP/1.1 404 Not Found"),
        (100, b"HTTP/1.1 100 Continue"),
        (599, b"HTTP/1.1 599 "),
        (999, b"HTTP/1.1 999 "),
        (True + 199, b"HTTP/1.1 200 OK"),
    ],
)
def test_status_lines(clock: Clock, status: int, line: bytes) -> None:
    assert encode_head(BARE, clock, status, []) == line + b"\r\n\r\n"


@pytest.mark.parametrize("status", [0, 99, 1000, -200, 2**64 + 200, -(2**64)])
def test_status_that_no_response_has(clock: Clock, status: int) -> None:
    with pytest.raises(ValueError, match="three digits"):
        encode_head(BARE, clock, status, [])


@pytest.mark.parametrize("status", ["200", None, 200.0, b"200"])
def test_status_types(clock: Clock, status: Any) -> None:
    with pytest.raises(TypeError, match="status"):
        encode_head(BARE, clock, status, [])


def test_order_and_duplicates(clock: Clock) -> None:
    headers = [(b"b", b"1"), (b"a", b"2"), (b"Set-Cookie", b"x"), (b"set-cookie", b"y"), (b"b", b"3")]
    assert encode_head(BARE, clock, 200, headers) == (
        b"HTTP/1.1 200 OK\r\nb: 1\r\na: 2\r\nset-cookie: x\r\nset-cookie: y\r\nb: 3\r\n\r\n"
    )


@pytest.mark.parametrize("headers", [[[b"a", b"b"]], ((b"a", b"b"),), iter([(b"a", b"b")]), {b"a": b"b"}.items()])
def test_kinds_of_iterables(clock: Clock, headers: Any) -> None:
    assert encode_head(BARE, clock, 200, headers) == b"HTTP/1.1 200 OK\r\na: b\r\n\r\n"


@pytest.mark.parametrize("part", [bytearray(b"a"), memoryview(b"a")])
def test_other_kinds_of_bytes(clock: Clock, part: Any) -> None:
    assert encode_head(BARE, clock, 200, [(part, part)]) == b"HTTP/1.1 200 OK\r\na: a\r\n\r\n"


@pytest.mark.parametrize("pair", [(b"a", 1), (None, b"b"), (["a"], b"b")])
def test_other_types_are_refused(clock: Clock, pair: Any) -> None:
    with pytest.raises(TypeError, match="bytes"):
        encode_head(BARE, clock, 200, [pair])


def test_text_in_ascii(clock: Clock) -> None:
    headers: Any = [
        ("A", b"1"),
        (b"B", "2"),
        ("Content-Length", "7"),
        ("Transfer-Encoding", "x"),
        ("Connection", "close"),
    ]
    assert encode_head(BARE, clock, 200, headers) == (
        b"HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\ncontent-length: 7\r\nconnection: close\r\n\r\n"
    )


@pytest.mark.parametrize("pair", [("\xe4", b"b"), (b"a", "\xe4"), (b"a", "\u20ac"), ("a b", b"1"), (b"a", "1\r\nb: 2")])
def test_text_that_no_header_can_have(clock: Clock, pair: Any) -> None:
    with pytest.raises(ValueError, match=r"ascii|invalid header name|invalid value of header"):
        encode_head(BARE, clock, 200, [pair])


@pytest.mark.parametrize("name", [b"", b" a", b"a ", b"a:", b":path", b"a\r\nb", b"a\0", b"\xe4", b"a(", b"a\x7f"])
def test_bad_names(clock: Clock, name: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(empty|invalid) header name"):
        encode_head(BARE, clock, 200, [(name, b"x")])


@pytest.mark.parametrize("value", [b"1\r\nx: 1", *(bytes([control]) for control in CONTROLS)])
@pytest.mark.parametrize("position", [0, 1, 15, 16, 31, 32, 63, 99])
def test_bad_values(clock: Clock, value: bytes, position: int) -> None:
    with pytest.raises(ValueError, match="invalid value of header"):
        encode_head(BARE, clock, 200, [(b"a", b"v" * position + value + b"v" * (99 - position))])


@pytest.mark.parametrize("size", [*range(1, 20), 31, 32, 33])
def test_each_byte_of_names_and_values_counts(clock: Clock, size: int) -> None:
    def line(name: bytes, value: bytes) -> bytes:
        return encode_head(BARE, clock, 200, [(name, value)]).split(b"\r\n")[1]

    for at in range(size):
        before, after = b"x" * at, b"x" * (size - at - 1)
        for byte in b"-", b"_", b"0", b"z", b"a", b"A", b"Z":
            text = before + byte + after
            assert line(text, text) == text.lower() + b": " + text
        for byte in b" ", b"\x7f", b"{", b"\xe1":
            with pytest.raises(ValueError, match="invalid header name"):
                line(before + byte + after, b"")
        for byte in b"\0", b"\x1f", b"\x7f":
            with pytest.raises(ValueError, match="invalid value of header"):
                line(b"a", before + byte + after)
        for byte in b"\t", b" ", b"~", b"\x80", b"\xff":
            assert line(b"a", before + byte + after) == b"a: " + before + byte + after


def test_all_values_that_are_possible(clock: Clock) -> None:
    value = bytes(set(range(256)) - CONTROLS)
    assert b"\t" in value
    assert encode_head(BARE, clock, 200, [(b"a", value)]) == b"HTTP/1.1 200 OK\r\na: " + value + b"\r\n\r\n"


def test_a_long_value(clock: Clock) -> None:
    value = b"v" * 100000
    assert encode_head(BARE, clock, 200, [(b"a", value)]) == b"HTTP/1.1 200 OK\r\na: " + value + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "length", "left"),
    [
        ([(b"Content-Length", b"7")], b"7", []),
        ([(b"content-length", b"007")], b"7", []),
        ([(b"content-length", b"7"), (b"Content-Length", b"7")], b"7", []),
        ([(b"Transfer-Encoding", b"chunked"), (b"a", b"b")], None, [b"a: b"]),
        ([(b"Connection", b"keep-alive")], None, []),
        ([(b"connection", b"upgrade")], None, [b"connection: upgrade"]),
    ],
)
def test_framing_fields_are_the_server_s(
    clock: Clock, headers: Headers, length: bytes | None, left: list[bytes]
) -> None:
    lines = [] if length is None else [b"content-length: " + length]
    assert encode_head(BARE, clock, 200, headers) == b"\r\n".join([b"HTTP/1.1 200 OK", *left, *lines, b"", b""])


def test_close(clock: Clock) -> None:
    assert encode_head(BARE, clock, 200, [(b"Connection", b"CLOSE")]) == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"1 ", b"1,1", b"0x1", b"1" * 19, b"\xb2"])
def test_bad_content_length(clock: Clock, value: bytes) -> None:
    with pytest.raises(ValueError, match="Content-Length"):
        encode_head(BARE, clock, 200, [(b"content-length", value)])


def test_content_lengths_that_differ(clock: Clock) -> None:
    with pytest.raises(ValueError, match="differ"):
        encode_head(BARE, clock, 200, [(b"content-length", b"1"), (b"content-length", b"2")])


def test_chunked(clock: Clock) -> None:
    assert encode_head(BARE, clock, 200, [], chunked=True) == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def test_the_application_s_date_and_server_replace_the_default_ones(clock: Clock) -> None:
    head = encode_head(make_settings(), clock, 200, [(b"Date", b"d"), (b"Server", b"s")])
    assert head == b"HTTP/1.1 200 OK\r\ndate: d\r\nserver: s\r\n\r\n"


def test_default_headers(clock: Clock) -> None:
    settings = make_settings(
        server=None, date=False, default_headers=[(b"X-A", b"1"), (b"server", b"mine"), (b"x-a", b"2")]
    )
    assert encode_head(settings, clock, 200, [(b"z", b"0")]) == (
        b"HTTP/1.1 200 OK\r\nz: 0\r\nx-a: 1\r\nserver: mine\r\nx-a: 2\r\n\r\n"
    )
    assert b"mine" not in encode_head(settings, clock, 200, [(b"server", b"app")])


@pytest.mark.parametrize(
    ("encrypted", "own", "added"),
    [
        (True, [], b"strict-transport-security: max-age=9\r\n"),
        (True, [(b"Strict-Transport-Security", b"x")], b""),
        (False, [], b""),
    ],
)
def test_hsts(clock: Clock, encrypted: bool, own: Headers, added: bytes) -> None:
    settings = make_settings(server=None, date=False, hsts=b"max-age=9")
    head = encode_head(settings, clock, 200, own, 0, encrypted=encrypted)
    fields = b"".join(name.lower() + b": " + value + b"\r\n" for name, value in own)
    assert head == b"HTTP/1.1 200 OK\r\n" + fields + added + b"content-length: 0\r\n\r\n"
