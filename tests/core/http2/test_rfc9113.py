"""RFC 9113 in the order of its sections, for an application that reads the body and one that does not.

At least what h2spec checks; whoever is wrong gets the code that the section names, and others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes.http2 import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GET,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Frame,
    Http2Client,
    data,
    frame,
    goaway,
    headers,
    headers_in_pieces,
    ping,
    priority,
    raw_block,
    rst_stream,
    settings,
    window_update,
)
from fakes.worker import FakeWorker, hello, respond

Work = Callable[..., FakeWorker]
Connect = Callable[..., Http2Client]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Read the whole body, and answer five bytes."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    if message["type"] == "http.request":
        await respond(send, b"hello")


async def waiting(scope: Any, receive: Any, send: Any) -> None:
    """Answer when the client leaves, so never: its streams stay open."""
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.fixture(params=["reads", "ignores"])
def connect(request: pytest.FixtureRequest, work: Work) -> Iterator[Connect]:
    """Begin connections whose application reads the body, or does not; all must still be served in the end."""
    app = echo if request.param == "reads" else hello()
    wire = work(app)
    yield lambda *pairs, **options: Http2Client(wire, *pairs, **options)
    assert Http2Client(wire).ask(1).body == b"hello"
    assert not wire.errors


@pytest.fixture
def held(work: Work) -> Connect:
    """Begin connections whose streams stay open."""
    wire = work(waiting)
    return lambda *pairs, **options: Http2Client(wire, *pairs, **options)


def assert_connection_error(client: Http2Client, code: int) -> None:
    assert client.error == code
    assert [each.type for each in client.heard].count(GOAWAY) == 1


def assert_stream_error(client: Http2Client, stream: int, code: int) -> None:
    """That stream is reset, and the next one served."""
    assert [each.number for each in client.heard if each.type == RST_STREAM and each.stream == stream] == [code]
    assert not client.closed
    following = stream + 2 if stream % 2 else 1
    assert Frame(PING, ACK, 0, b"12345678") in client.send(headers(following) + ping())


class TestSection3:
    def test_4_preface(self, connect: Connect) -> None:
        client = connect(begin=False)
        frames = client.send(PREFACE + settings())
        assert [(each.type, each.flags) for each in frames] == [(SETTINGS, 0), (WINDOW_UPDATE, 0), (SETTINGS, ACK)]

    def test_4_preface_in_pieces(self, connect: Connect) -> None:
        client = connect(begin=False)
        client.send(*(bytes([byte]) for byte in PREFACE + settings() + headers(1)))
        assert client.replies[1].body == b"hello"

    def test_4_wrong_preface_over_tls(self, work: Work, encrypted: dict[str, Any]) -> None:
        client = Http2Client(work(hello()), begin=False, **encrypted)
        client.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
        assert_connection_error(client, PROTOCOL_ERROR)

    @pytest.mark.parametrize("first", [headers(1), ping(), settings(ack=True), window_update(0, 1)])
    def test_4_first_frame_is_settings(self, connect: Connect, first: bytes) -> None:
        client = connect(begin=False)
        client.send(PREFACE + first)
        assert_connection_error(client, PROTOCOL_ERROR)


class TestSection4:
    def test_1_unknown_type_is_ignored(self, connect: Connect) -> None:
        client = connect()
        client.send(frame(22, 0, 0, bytes(100)) + frame(22, 0, 5, b"x") + ping())
        assert client.heard[-1] == Frame(PING, ACK, 0, b"12345678")

    def test_1_undefined_flags_are_ignored(self, connect: Connect) -> None:
        assert connect().send(frame(PING, 0xF6, 0, b"12345678")) == [Frame(PING, ACK, 0, b"12345678")]

    def test_1_reserved_bit_is_ignored(self, connect: Connect) -> None:
        client = connect()
        assert client.send(frame(PING, 0, 0x80000000, b"12345678")) == [Frame(PING, ACK, 0, b"12345678")]
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 0x80000001, raw_block(GET)))
        assert client.replies[1].body == b"hello"

    def test_2_largest_frame(self, connect: Connect) -> None:
        client = connect()
        client.send(headers(1, POST, end=False) + data(1, bytes(16384), end=True))
        assert client.replies[1].body == b"hello"

    @pytest.mark.parametrize(
        "large",
        [
            headers(1, POST, end=False) + data(1, bytes(16385)),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, bytes(16385)),
            frame(SETTINGS, 0, 0, bytes(16386)),
            frame(22, 0, 0, bytes(16385)),
        ],
    )
    def test_2_frame_over_the_maximum(self, connect: Connect, large: bytes) -> None:
        client = connect()
        client.send(large)
        assert_connection_error(client, FRAME_SIZE_ERROR)

    def test_3_invalid_block(self, connect: Connect) -> None:
        client = connect()
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\x02\xff\xff"))
        assert_connection_error(client, COMPRESSION_ERROR)

    @pytest.mark.parametrize(
        "between",
        [priority(1), headers(3), data(1), ping(), frame(22, 0, 1), settings(), frame(CONTINUATION, END_HEADERS, 3)],
    )
    def test_3_nothing_within_a_block(self, connect: Connect, between: bytes) -> None:
        client = connect()
        client.send(frame(HEADERS, END_STREAM, 1, raw_block(GET)) + between)
        assert_connection_error(client, PROTOCOL_ERROR)


class TestSection5:
    @pytest.mark.parametrize(
        "idle", [data(1), rst_stream(1), window_update(1, 1), frame(CONTINUATION, END_HEADERS, 1, raw_block(GET))]
    )
    def test_1_idle(self, connect: Connect, idle: bytes) -> None:
        client = connect()
        client.send(idle)
        assert_connection_error(client, PROTOCOL_ERROR)

    def test_1_priority_on_idle(self, connect: Connect) -> None:
        client = connect()
        client.send(priority(5))
        assert client.ask(1).body == b"hello"

    def test_1_half_closed_window_update_priority_and_reset(self, held: Connect) -> None:
        client = held()
        client.send(headers(1))
        client.send(window_update(1, 1) + priority(1) + rst_stream(1) + ping())
        assert client.heard[-1].type == PING
        assert not client.closed

    @pytest.mark.parametrize("late", [data(1, b"x"), headers(1), headers(1, [])])
    def test_1_half_closed(self, held: Connect, late: bytes) -> None:
        client = held()
        client.send(headers(1))
        client.send(late)
        assert_stream_error(client, 1, STREAM_CLOSED)

    def test_1_half_closed_continuation(self, held: Connect) -> None:
        client = held()
        client.send(headers(1))
        client.send(frame(CONTINUATION, END_HEADERS, 1))
        assert_connection_error(client, PROTOCOL_ERROR)

    @pytest.mark.parametrize("late", [data(1, b"x"), headers(1)])
    def test_1_closed_by_the_clients_reset(self, held: Connect, late: bytes) -> None:
        client = held()
        client.send(headers(1, POST, end=False))
        client.send(rst_stream(1))
        client.send(late)
        assert_stream_error(client, 1, STREAM_CLOSED)

    @pytest.mark.parametrize("late", [data(1, b"x"), headers(1, []), window_update(1, 1), rst_stream(1), priority(1)])
    def test_1_closed_by_our_reset(self, held: Connect, late: bytes) -> None:
        """What was under way then is no fault."""
        client = held()
        client.send(headers(1, POST, end=False))
        client.send(window_update(1, 0))
        assert client.replies[1].reset == PROTOCOL_ERROR
        client.send(late + ping())
        assert client.heard[-1].type == PING
        assert not client.closed

    def test_1_closed_data(self, connect: Connect) -> None:
        client = connect()
        assert client.ask(1).ended
        client.send(data(1, b"x"))
        assert client.replies[1].reset == STREAM_CLOSED
        assert client.ask(3).body == b"hello"

    def test_1_closed_headers(self, connect: Connect) -> None:
        client = connect()
        client.ask(1)
        client.send(headers(1))
        assert_connection_error(client, STREAM_CLOSED)

    @pytest.mark.parametrize("late", [window_update(1, 1), priority(1), rst_stream(1)])
    def test_1_closed_others(self, connect: Connect, late: bytes) -> None:
        client = connect()
        client.ask(1)
        client.send(late)
        assert client.ask(3).body == b"hello"

    def test_1_1_even_stream(self, connect: Connect) -> None:
        client = connect()
        client.send(headers(2))
        assert_connection_error(client, PROTOCOL_ERROR)

    def test_1_1_lower_stream(self, connect: Connect) -> None:
        client = connect()
        client.ask(5)
        client.send(headers(3))
        assert_connection_error(client, PROTOCOL_ERROR)

    def test_3_2_priority_that_depends_on_itself(self, connect: Connect) -> None:
        client = connect()
        client.send(priority(3, 3))
        assert_connection_error(client, PROTOCOL_ERROR)

    def test_3_2_headers_that_depend_on_themselves(self, connect: Connect) -> None:
        client = connect()
        block = b"\0\0\0\1\x0f" + raw_block(GET)
        client.send(frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, block))
        assert_stream_error(client, 1, PROTOCOL_ERROR)

    def test_4_1_connection_error_names_the_last_stream(self, connect: Connect) -> None:
        client = connect()
        client.ask(1)
        client.ask(5)
        client.send(ping(b"short"))
        assert client.goaways == [(5, FRAME_SIZE_ERROR)]


class TestSection6:
    def test_1_data_on_stream_0(self, connect: Connect) -> None:
        client = connect()
        client.send(data(0, b"x"))
        assert_connection_error(client, PROTOCOL_ERROR)

    def test_1_padded_data(self, connect: Connect) -> None:
        client = connect()
        client.send(headers(1, [*POST, ("content-length", "3")], end=False) + data(1, b"abc", end=True, pad=255))
        assert client.replies[1].body == b"hello"

    @pytest.mark.parametrize(("payload", "code"), [(b"\x06hello", PROTOCOL_ERROR), (b"\1", PROTOCOL_ERROR), (b"", 6)])
    def test_1_more_padding_than_payload(self, connect: Connect, payload: bytes, code: int) -> None:
        client = connect()
        client.send(headers(1, POST, end=False) + frame(DATA, PADDED, 1, payload))
        assert_connection_error(client, code)

    def test_2_headers_on_stream_0(self, connect: Connect) -> None:
        client = connect()
        client.send(headers(0))
        assert_connection_error(client, PROTOCOL_ERROR)

    def test_2_padding_and_priority(self, connect: Connect) -> None:
        client = connect()
        block = b"\x05\x80\0\0\0\xff" + raw_block(GET) + bytes(5)
        client.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED | WITH_PRIORITY, 1, block))
        assert client.replies[1].body == b"hello"

    def test_2_more_padding_than_block(self, connect: Connect) -> None:
        client = connect()
        block = raw_block(GET)
        client.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, bytes([len(block) + 1]) + block))
        assert_connection_error(client, PROTOCOL_ERROR)

    @pytest.mark.parametrize(("flags", "payload"), [(PADDED, b""), (WITH_PRIORITY, bytes(4)), (0x28, bytes(5))])
    def test_2_headers_too_short(self, connect: Connect, flags: int, payload: bytes) -> None:
        client = connect()
        client.send(frame(HEADERS, END_HEADERS | flags, 1, payload))
        assert_connection_error(client, FRAME_SIZE_ERROR)

    def test_3_priority_on_stream_0(self, connect: Connect) -> None:
        client = connect()
        client.send(priority(0))
        assert_connection_error(client, PROTOCOL_ERROR)

    def test_3_priority_of_another_size(self, connect: Connect) -> None:
        client = connect()
        client.send(frame(PRIORITY, 0, 1, bytes(4)))
        assert_connection_error(client, FRAME_SIZE_ERROR)

    def test_4_rst_stream_on_stream_0(self, connect: Connect) -> None:
        client = connect()
        client.send(rst_stream(0))
        assert_connection_error(client, PROTOCOL_ERROR)

    @pytest.mark.parametrize("size", [3, 5])
    def test_4_rst_stream_of_another_size(self, held: Connect, size: int) -> None:
        client = held()
        client.send(headers(1) + frame(RST_STREAM, 0, 1, bytes(size)))
        assert_connection_error(client, FRAME_SIZE_ERROR)

    def test_5_settings_are_acknowledged(self, connect: Connect) -> None:
        assert connect().send(settings((INITIAL_WINDOW_SIZE, 100))) == [Frame(SETTINGS, ACK, 0, b"")]

    @pytest.mark.parametrize(
        ("wrong", "code"),
        [
            (frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
            (frame(SETTINGS, 0, 1), PROTOCOL_ERROR),
            (frame(SETTINGS, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
            (settings((ENABLE_PUSH, 2)), PROTOCOL_ERROR),
            (settings((INITIAL_WINDOW_SIZE, 2**31)), FLOW_CONTROL_ERROR),
            (settings((MAX_FRAME_SIZE, 16383)), PROTOCOL_ERROR),
            (settings((MAX_FRAME_SIZE, 2**24)), PROTOCOL_ERROR),
        ],
    )
    def test_5_wrong_settings(self, connect: Connect, wrong: bytes, code: int) -> None:
        client = connect()
        client.send(wrong)
        assert_connection_error(client, code)

    def test_5_2_unknown_settings_are_ignored(self, connect: Connect) -> None:
        assert connect().send(settings((0xFF, 1), (0, 5))) == [Frame(SETTINGS, ACK, 0, b"")]

    def test_5_3_the_last_value_counts(self, connect: Connect) -> None:
        client = connect()
        client.send(settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)))
        assert client.ask(1).body == b"h"

    def test_6_push_promise(self, connect: Connect) -> None:
        client = connect()
        client.send(frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"))
        assert_connection_error(client, PROTOCOL_ERROR)

    def test_7_ping(self, connect: Connect) -> None:
        assert connect().send(ping(b"abcdefgh")) == [Frame(PING, ACK, 0, b"abcdefgh")]

    def test_7_ack_is_not_answered(self, connect: Connect) -> None:
        assert connect().send(ping(ack=True) + ping(b"abcdefgh")) == [Frame(PING, ACK, 0, b"abcdefgh")]

    @pytest.mark.parametrize(
        ("wrong", "code"), [(frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR), (ping(bytes(6)), FRAME_SIZE_ERROR)]
    )
    def test_7_wrong_ping(self, connect: Connect, wrong: bytes, code: int) -> None:
        client = connect()
        client.send(wrong)
        assert_connection_error(client, code)

    @pytest.mark.parametrize(
        ("wrong", "code"), [(frame(GOAWAY, 0, 1, bytes(8)), 1), (frame(GOAWAY, 0, 0, bytes(7)), FRAME_SIZE_ERROR)]
    )
    def test_8_wrong_goaway(self, connect: Connect, wrong: bytes, code: int) -> None:
        client = connect()
        client.send(wrong)
        assert_connection_error(client, code)

    def test_8_client_that_goes(self, connect: Connect) -> None:
        client = connect()
        client.send(headers(1, POST, end=False))
        client.send(goaway(0, NO_ERROR, b"bye"))
        client.send(data(1, b"x", end=True))
        assert client.replies[1].body == b"hello"
        assert client.closed

    def test_9_window_of_1(self, connect: Connect) -> None:
        client = connect((INITIAL_WINDOW_SIZE, 1))
        reply = client.ask(1)
        for size in range(1, 5):
            assert (len(reply.body), reply.ended) == (size, False)
            client.send(window_update(1, 1))
        assert (reply.body, reply.ended) == (b"hello", True)

    @pytest.mark.parametrize("stream", [0, 1])
    def test_9_increment_of_0(self, connect: Connect, stream: int) -> None:
        client = connect()
        client.send(headers(1, POST, end=False))
        client.send(window_update(stream, 0))
        if stream:
            assert_stream_error(client, 1, PROTOCOL_ERROR)
        else:
            assert_connection_error(client, PROTOCOL_ERROR)

    @pytest.mark.parametrize("size", [3, 5])
    def test_9_another_size(self, connect: Connect, size: int) -> None:
        client = connect()
        client.send(frame(WINDOW_UPDATE, 0, 0, bytes(size)))
        assert_connection_error(client, FRAME_SIZE_ERROR)

    @pytest.mark.parametrize("stream", [0, 1])
    def test_9_1_largest_window(self, held: Connect, stream: int) -> None:
        client = held()
        client.send(headers(1))
        client.send(window_update(stream, 2**31 - 1 - 65535))
        client.send(ping())
        assert client.heard[-1].type == PING

    @pytest.mark.parametrize("stream", [0, 1])
    def test_9_1_window_over_the_maximum(self, connect: Connect, stream: int) -> None:
        client = connect()
        client.send(headers(1, POST, end=False))
        client.send(window_update(stream, 2**31 - 1))
        if stream:
            assert_stream_error(client, 1, FLOW_CONTROL_ERROR)
        else:
            assert_connection_error(client, FLOW_CONTROL_ERROR)

    def test_9_2_change_of_the_first_window(self, connect: Connect) -> None:
        client = connect((INITIAL_WINDOW_SIZE, 0))
        reply = client.ask(1)
        assert (reply.status, reply.body) == (200, b"")
        client.send(settings((INITIAL_WINDOW_SIZE, 1)))
        assert reply.body == b"h"

    def test_9_2_negative_window(self, connect: Connect) -> None:
        client = connect((INITIAL_WINDOW_SIZE, 3))
        reply = client.ask(1)
        assert reply.body == b"hel"
        client.send(settings((INITIAL_WINDOW_SIZE, 2)))
        client.send(window_update(1, 1))
        assert reply.body == b"hel"
        client.send(window_update(1, 1))
        assert reply.body == b"hell"

    def test_9_2_settings_that_make_a_window_too_large(self, held: Connect) -> None:
        client = held()
        client.send(headers(1) + window_update(1, 2**31 - 1 - 65535))
        client.send(settings((INITIAL_WINDOW_SIZE, 65536)))
        assert_connection_error(client, FLOW_CONTROL_ERROR)

    def test_10_continuation(self, connect: Connect) -> None:
        client = connect()
        client.send(headers_in_pieces(1, GET, [5, 0, 7]))
        assert client.replies[1].body == b"hello"

    @pytest.mark.parametrize("before", [b"", headers(1)])
    def test_10_continuation_alone(self, connect: Connect, before: bytes) -> None:
        client = connect()
        client.send(before + frame(CONTINUATION, END_HEADERS, 1, raw_block(GET)))
        assert_connection_error(client, PROTOCOL_ERROR)

    def test_10_continuation_on_stream_0(self, connect: Connect) -> None:
        client = connect()
        client.send(frame(HEADERS, END_STREAM, 1, raw_block(GET)) + frame(CONTINUATION, END_HEADERS, 0))
        assert_connection_error(client, PROTOCOL_ERROR)

    def test_10_continuation_after_data(self, connect: Connect) -> None:
        client = connect()
        client.send(headers(1, POST, end=False) + data(1, b"x") + frame(CONTINUATION, END_HEADERS, 1))
        assert_connection_error(client, PROTOCOL_ERROR)


class TestSection7:
    def test_unknown_error_codes(self, held: Connect) -> None:
        client = held()
        client.send(headers(1) + rst_stream(1, 0xFF) + ping())
        assert client.heard[-1].type == PING
        client.send(goaway(0, 0xFF))
        assert client.closed


class TestSection8:
    def test_1_trailers(self, connect: Connect) -> None:
        client = connect()
        client.send(headers(1, POST, end=False) + data(1, b"x") + headers(1, [("x-checksum", "1")]))
        assert client.replies[1].body == b"hello"

    @pytest.mark.parametrize(
        ("trailers", "end"),
        [([(":path", "/")], True), ([("X-A", "b")], True), ([("x-a", "b")], False), ([("connection", "x")], True)],
    )
    def test_1_wrong_trailers(self, connect: Connect, trailers: Any, end: bool) -> None:
        client = connect()
        client.send(headers(1, POST, end=False) + data(1, b"x") + headers(1, trailers, end))
        assert_stream_error(client, 1, PROTOCOL_ERROR)

    @pytest.mark.parametrize(
        ("length", "body"), [(1, [b"test"]), (1, [b"te", b"st"]), (5, [b"test"]), (1, [b""])], ids=str
    )
    def test_1_1_content_length(self, connect: Connect, length: int, body: list[bytes]) -> None:
        client = connect()
        client.send(headers(1, [*POST, ("content-length", str(length))], end=False))
        client.send(*(data(1, piece) for piece in body[:-1]), data(1, body[-1], end=True))
        assert_stream_error(client, 1, PROTOCOL_ERROR)

    def test_1_1_content_length_without_a_body(self, connect: Connect) -> None:
        client = connect()
        client.send(headers(1, [*POST, ("content-length", "1")]))
        assert_stream_error(client, 1, PROTOCOL_ERROR)

    @pytest.mark.parametrize(
        "fields",
        [
            [*GET, ("X-TEST", "ok")],
            [*GET, ("", "x")],
            [*GET, ("x a", "x")],
            [*GET, ("x-a", "b\r\nc: d")],
            [*GET, ("x-a", " b")],
            [*GET, (":test", "ok")],
            [*GET, (":status", "200")],
            [*GET, ("x-a", "b"), (":authority", "a")],
            [*GET[:3], ("x-a", "b"), GET[3]],
            [*GET, ("connection", "keep-alive")],
            [*GET, ("transfer-encoding", "chunked")],
            [*GET, ("te", "trailers, deflate")],
            [*GET[:2], (":path", ""), GET[3]],
            [*GET[:2], (":path", "x"), GET[3]],
            [*GET[:2], (":path", "*"), GET[3]],
            GET[1:],
            [GET[0], *GET[2:]],
            [*GET[:2], GET[3]],
            [GET[0], *GET],
            [*GET[:2], GET[1], *GET[2:]],
            [*GET[:3], GET[2], GET[3]],
            [*POST, ("content-length", "x")],
            [*POST, ("content-length", "1"), ("content-length", "1")],
        ],
        ids=lambda fields: "-".join(name for name, _ in fields),
    )
    def test_2_and_3_malformed(self, connect: Connect, fields: Any) -> None:
        client = connect()
        client.send(headers(1, fields))
        assert_stream_error(client, 1, PROTOCOL_ERROR)
        assert client.replies[3].body == b"hello"

    def test_2_te_trailers(self, connect: Connect) -> None:
        assert connect().ask(1, [*GET, ("te", "trailers")]).body == b"hello"

    def test_4_the_rest_of_a_request_is_not_wanted(self, work: Work) -> None:
        """It is received as long as it keeps coming, however much, but not for more than half a minute."""
        client = Http2Client(work(hello()))
        client.send(headers(1, [*POST, ("content-length", str(3 << 20))], end=False), data(1, b"more"))
        reply = client.replies[1]
        assert (reply.status, reply.body, reply.ended, reply.reset) == (200, b"hello", True, None)
        for _ in range(7):
            client.wire.advance(4.2)
            client.send(data(1, bytes(16384)))
            client.hear()
            assert reply.reset is None
        client.wire.advance(1)
        client.hear()
        assert reply.reset == NO_ERROR
        client.send(data(1, b"late", end=True))
        assert client.ask(3).body == b"hello"

    def test_4_the_rest_of_a_request_does_not_come(self, work: Work) -> None:
        client = Http2Client(work(hello()))
        client.send(headers(1, POST, end=False), data(1, b"more"))
        for seconds, reset in ((4.8, None), (0.4, NO_ERROR)):
            client.wire.advance(seconds)
            client.hear()
            assert client.replies[1].reset == reset

    def test_4_a_large_request_that_is_not_wanted(self, work: Work) -> None:
        """There are clients that see their response only once they have sent all of it."""
        client = Http2Client(work(hello()))
        size = 3 << 20
        client.send(headers(1, [*POST, ("content-length", str(size))], end=False))
        used = 0
        while used < size:
            part = min(16384, size - used, 65535 + client.updates(1) - used)
            assert part > 0, f"no window after {used} bytes"
            client.send(data(1, bytes(part), end=used + part == size))
            used += part
        reply = client.replies[1]
        assert (reply.body, reply.ended, reply.reset) == (b"hello", True, None)
        assert client.ask(3).body == b"hello"

    @pytest.mark.parametrize("before", [True, False])
    def test_4_the_rest_of_a_request_at_a_stop(self, work: Work, before: bool) -> None:
        """It is waited for as little as a connection over HTTP/1.1 lingers."""
        client = Http2Client(work(hello()))
        asked = (headers(1, POST, end=False), data(1, b"more"))
        if before:
            client.send(*asked)
        else:
            client.ask(1)
        client.wire.call(client.wire.worker.drain)
        client.hear()
        if not before:
            client.send(headers(3, POST, end=False), data(3, b"more"))
        client.send(ping(b"leaving.", ack=True))
        assert not client.closed
        client.wire.advance(0.15)
        client.send(data(1 if before else 3, b"x"))
        client.wire.advance(0.1)
        client.hear()
        assert client.replies[1 if before else 3].reset == NO_ERROR
        assert client.closed

    def test_4_the_rest_of_a_request_that_comes_at_once(self, work: Work) -> None:
        client = Http2Client(work(hello()))
        client.send(headers(1, POST, end=False), data(1, b"more", end=True))
        client.wire.advance(0.6)
        client.hear()
        assert (client.replies[1].body, client.replies[1].reset) == (b"hello", None)


def test_cancelled_upload_and_the_codes_of_clients(held: Connect) -> None:
    client = held()
    client.send(headers(1, POST, end=False) + data(1, b"x") + rst_stream(1, CANCEL))
    assert not client.closed
