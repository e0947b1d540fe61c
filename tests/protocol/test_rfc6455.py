"""RFC 6455 (The WebSocket Protocol), in the order of its sections, over real sockets.

DIFFERENCES says what the reference implementations do otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core.frames import BINARY, CLOSE, FIN, PING, PONG, TEXT, binary, fragments, frame, text
from protocol.websocket import MAX_SIZE, Outcome, Talks, implementations, serve_all
from ws import ACCEPT, KEY, close, closing, upgrade

FAULT, BAD_DATA, TOO_BIG = 1002, 1007, 1009


@implementations
def talks(request: pytest.FixtureRequest) -> Iterator[Talks]:
    yield from serve_all(request, ws_per_message_deflate=False)


@pytest.fixture(scope="module")
def compiled() -> Iterator[Talks]:
    talks = Talks("auto", ws_per_message_deflate=False)
    yield talks
    talks.running.stop()


Streams = dict[str, tuple[bytes, list[Any], int]]
# Streams of bytes, the messages that the application gets of them, and the code that both sides see.
# What the reference implementations make of some of them instead.
DIFFERENCES: dict[tuple[str, str], tuple[list[Any], int]] = {
    # websockets takes a length in more bytes than it needs.
    **{("websockets", f"{size} in 16 bits"): ([b"x" * size], 1000) for size in (0, 1, 125)},
    **{("websockets", f"{size} in 64 bits"): ([b"x" * size], 1000) for size in (0, 125, 126, 1000)},
    **{("websockets", f"{opcode} with a long length"): ([], 1000) for opcode in (PING, PONG)},
    ("websockets", "highest bit"): ([], TOO_BIG),
    ("websockets", "all bits"): ([], TOO_BIG),
    ("websockets", "a close between"): ([], FAULT),
    ("wsproto", "close 1014"): ([], FAULT),  # registered since
}


def streams(cases: Streams) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Test each of these."""
    return pytest.mark.parametrize("name", cases)


def check(talks: Talks, cases: Streams, name: str) -> Outcome:
    data, messages, code = cases[name]
    messages, code = DIFFERENCES.get((talks.implementation, name), (messages, code))
    found = talks.tell(data)
    assert (found.messages, found.code, found.seen, found.others) == (messages, code, code, [])
    return found


class TestHandshake:
    """4.2.1 says what a handshake has, 4.2.2 how it is answered."""

    def test_4_2_2_the_answer(self, talks: Talks) -> None:
        with talks.socket() as client:
            found = client.open()
            assert (found.reason, found.get(b"upgrade"), found.get(b"connection")) == (
                b"Switching Protocols", b"websocket", b"Upgrade",
            )  # fmt: skip
            assert found.get(b"sec-websocket-accept") == ACCEPT  # the example of section 1.3
            for absent in (b"sec-websocket-protocol", b"sec-websocket-extensions", b"sec-websocket-version"):
                assert found.get(absent) is None

    @pytest.mark.parametrize(
        "request_",
        [
            upgrade(protocol="WebSocket"),
            upgrade(protocol="h2c, websocket"),
            upgrade(connection="keep-alive, upgrade"),
            upgrade(connection="UPGRADE"),
            upgrade().replace(b"Upgrade: w", b"upgrade:w").replace(b"Sec-WebSocket-K", b"SEC-WEBSOCKET-K"),
            upgrade("http://x/"),
            upgrade("/", "Content-Length: 0"),
            upgrade("/", "Origin: http://anywhere", "Sec-WebSocket-Extensions: x-unknown; a=1, other"),
        ],
    )
    def test_4_2_1_what_is_a_handshake(self, talks: Talks, request_: bytes) -> None:
        with talks.socket() as client:
            assert client.ask(request_).status == 101
            assert client.send(close()).frames() == [closing(1000)]

    @pytest.mark.parametrize(
        "request_",
        [
            upgrade(http="1.0"),
            upgrade(connection="keep-alive"),
            upgrade(protocol="h2c"),
            upgrade(protocol="websocket/13"),
            upgrade(protocol="x-websocket"),
        ],
    )
    def test_4_2_1_what_is_a_plain_request(self, talks: Talks, request_: bytes) -> None:
        """No upgrade to this protocol is asked for, or none can be (RFC 9110 section 7.8)."""
        found = talks.ask(request_)
        assert (found.status, found.body) == (200, b"plain")

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
    def test_4_2_1_the_method_is_get(self, talks: Talks, method: str) -> None:
        found = talks.ask(upgrade(method=method))
        assert (found.status, found.get(b"allow"), found.closes) == (405, b"GET", True)

    @pytest.mark.parametrize("version", [None, "", "8", "12", "14", "013", "+13", "13, 8", "1 3", "13.0"])
    def test_4_2_2_other_versions(self, talks: Talks, version: str | None) -> None:
        found = talks.ask(upgrade(version=version))
        assert (found.status, found.reason) == (426, b"Upgrade Required")
        assert found.get(b"sec-websocket-version") == b"13"
        assert found.get(b"upgrade") == b"websocket"  # RFC 9110 section 15.5.22
        assert found.all(b"connection") == [b"Upgrade", b"close"]

    @pytest.mark.parametrize(
        "key",
        [
            None, "", KEY[:-1], KEY[:-2], KEY + "=", "AAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAA",
            "dGhlIHNhbXBsZSBub25j ZQ=", "dGhlIHNhbXBsZSBub25j-_==", "=" * 24, f"{KEY}, {KEY}", "\xe9" * 24,
        ],
    )  # fmt: skip
    def test_4_2_1_the_key_is_16_bytes_in_base64(self, talks: Talks, key: str | None) -> None:
        found = talks.ask(upgrade(key=key))
        assert (found.status, found.closes) == (400, True)

    @pytest.mark.parametrize(
        "fields",
        [
            (f"Sec-WebSocket-Key: {KEY}",),
            ("Sec-WebSocket-Version: 13",),
            ("Sec-WebSocket-Protocol: a b",),
            ("Sec-WebSocket-Protocol: a,,b",),
            ("Sec-WebSocket-Protocol:",),
            ("Sec-WebSocket-Extensions: a;",),
            ("Content-Length: 5",),
            ("Transfer-Encoding: chunked",),
        ],
    )
    def test_4_2_1_what_is_malformed(self, talks: Talks, fields: tuple[str, ...]) -> None:
        """More than one key or version, lists that are none (section 4.3), a body."""
        assert talks.ask(upgrade("/", *fields)).status == 400

    def test_4_2_2_the_origin_is_for_the_application(self, talks: Talks) -> None:
        talks.tell(fields=("Origin: https://example.org",))
        assert (b"origin", b"https://example.org") in talks.app.scope["headers"]


NO_MASK: Streams = {
    f"no mask: {opcode}": (frame(FIN | opcode, payload, key=None), [], FAULT)
    for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
    for payload in (b"\x03\xe8",)
}


class TestMasking:
    @streams(NO_MASK)
    def test_5_1_a_frame_without_a_mask_ends_it(self, talks: Talks, name: str) -> None:
        check(talks, NO_MASK, name)

    @pytest.mark.parametrize("key", [bytes(4), b"\xff" * 4, b"\x01\x02\x03\x04", b"\x80\x00\xff\x7f"])
    def test_5_3_any_key(self, talks: Talks, key: bytes) -> None:
        sent: list[bytes] = [bytes(range(size)) for size in (0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 130)]
        found = talks.tell(*(frame(FIN | BINARY, each, key=key) for each in sent))
        assert (found.messages, found.code) == (sent, 1000)


RESERVED: Streams = {
    **{f"RSV{4 - bit}: {opcode}": (frame(FIN | 8 << bit | opcode, b"x"), [], FAULT)
       for bit in (1, 2, 3) for opcode in (TEXT, BINARY, PING, PONG)},
    **{f"opcode {opcode}": (frame(FIN | opcode, b"x"), [], FAULT) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "RSV1 on a continuation": (frame(TEXT, b"a") + frame(FIN | 0x40, b"b"), [], FAULT),
    "after a message": (text("a") + frame(FIN | 3), ["a"], FAULT),
}  # fmt: skip
LENGTHS: Streams = {
    **{f"{size} in 16 bits": (frame(FIN | BINARY, b"x" * size, form=16), [], FAULT) for size in (0, 1, 125)},
    **{f"{size} in 64 bits": (frame(FIN | BINARY, b"x" * size, form=64), [], FAULT) for size in (0, 125, 126, 1000)},
    "highest bit": (frame(FIN | BINARY, announced=1 << 63, form=64), [], FAULT),
    "all bits": (frame(FIN | BINARY, announced=(1 << 64) - 1, form=64), [], FAULT),
}


class TestFraming:
    @streams(RESERVED)
    def test_5_2_reserved_bits_and_opcodes(self, talks: Talks, name: str) -> None:
        check(talks, RESERVED, name)

    @streams(LENGTHS)
    def test_5_2_lengths_in_the_fewest_bytes(self, talks: Talks, name: str) -> None:
        check(talks, LENGTHS, name)

    def test_5_2_lengths_of_every_form(self, talks: Talks) -> None:
        sizes = (0, 1, 125, 126, 127, 1000)
        found = talks.tell(*(binary(b"x" * size) + text("y" * size) for size in sizes))
        assert found.messages == [each for size in sizes for each in (b"x" * size, "y" * size)]
        assert found.code == 1000


ONE_PING, ONE_PONG = frame(FIN | PING, b"p"), frame(FIN | PONG, b"q")
FRAGMENTED: Streams = {
    "two": (fragments(TEXT, b"a", b"b"), ["ab"], 1000),
    "of nothing": (fragments(BINARY, b"", b"", b""), [b""], 1000),
    "many": (fragments(BINARY, *[b"x"] * 500), [b"x" * 500], 1000),
    "with control frames between": (
        frame(TEXT, b"a") + ONE_PING + frame(0, b"b") + ONE_PONG + ONE_PING + frame(FIN, b"c"), ["abc"], 1000,
    ),
    "a close between": (frame(TEXT, b"a") + close(3000), [], 3000),
    "no message to continue": (frame(FIN, b"a"), [], FAULT),
    "nor behind one": (fragments(TEXT, b"a", b"b") + frame(0, b"c"), ["ab"], FAULT),
    "a text within": (frame(TEXT, b"a") + text("b"), [], FAULT),
    "a binary within": (frame(TEXT, b"a") + binary(b"b"), [], FAULT),
    "a start within": (frame(BINARY, b"a") + frame(BINARY, b"b"), [], FAULT),
    "of a ping": (frame(PING, b"a") + frame(FIN, b"b"), [], FAULT),
    "of a pong": (frame(PONG, b"a"), [], FAULT),
    "of a close": (frame(CLOSE, b"\x03\xe8"), [], FAULT),
}  # fmt: skip


class TestFragmentation:
    @streams(FRAGMENTED)
    def test_5_4_fragments(self, talks: Talks, name: str) -> None:
        found = check(talks, FRAGMENTED, name)
        assert found.pongs == [b"p"] * FRAGMENTED[name][0].count(ONE_PING)

    def test_5_4_a_ping_is_answered_before_the_message_is_complete(self, talks: Talks) -> None:
        with talks.socket() as client:
            client.open()
            client.send(frame(TEXT, b"a") + ONE_PING)
            assert client.frame() == (PONG, b"p")
            client.send(frame(FIN, b"b") + close())
            assert talks.outcome(client).messages == ["ab"]


CONTROL: Streams = {
    **{f"{opcode} of {size}": (frame(FIN | opcode, b"x" * size), [], FAULT)
       for opcode in (CLOSE, PING, PONG) for size in (126, 1000)},
    **{f"{opcode} with a long length": (frame(FIN | opcode, b"xxx", form=16), [], FAULT) for opcode in (PING, PONG)},
    "pongs that nobody asked for": (ONE_PONG * 3 + text("a"), ["a"], 1000),
}  # fmt: skip


class TestControlFrames:
    @streams(CONTROL)
    def test_5_5_control_frames(self, talks: Talks, name: str) -> None:
        check(talks, CONTROL, name)

    def test_5_5_2_each_ping_has_its_pong(self, talks: Talks) -> None:
        payloads = [b"", b"a", bytes(125), b"\xff" * 125]
        found = talks.tell(*(frame(FIN | PING, each) for each in payloads))
        assert (found.pongs, found.code) == (payloads, 1000)

    def test_5_5_1_nothing_is_read_behind_a_close_frame(self, talks: Talks) -> None:
        found = talks.tell(close(3000), text("late"), ONE_PING, frame(FIN | 3))
        assert found == Outcome([], [], 3000, 3000, "", [])


GOOD_CODES = (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999)
BAD_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
CLOSES: Streams = {
    **{f"close {code}": (close(code, "why"), [], code) for code in GOOD_CODES},
    **{f"close {code}": (close(code), [], FAULT) for code in BAD_CODES},
    "close without a code": (close(None), [], 1005),
    "half a code": (frame(FIN | CLOSE, b"\x03"), [], FAULT),
    "a reason that is no text": (frame(FIN | CLOSE, b"\x03\xe8\xff"), [], BAD_DATA),
    "a reason that ends too early": (frame(FIN | CLOSE, b"\x03\xe8\xe2\x82"), [], BAD_DATA),
}


class TestClose:
    @streams(CLOSES)
    def test_5_5_1_the_client_s(self, talks: Talks, name: str) -> None:
        found = check(talks, CLOSES, name)
        if found.seen in GOOD_CODES and found.seen == CLOSES[name][2] not in (FAULT, BAD_DATA):
            assert found.reason == "why"

    @pytest.mark.parametrize("reason", ["", "é€😀", "x" * 123])
    def test_7_1_6_the_reason(self, talks: Talks, reason: str) -> None:
        found = talks.tell(end=close(1000, reason))
        assert (found.seen, found.reason) == (1000, reason)

    def test_5_5_1_the_application_s(self, talks: Talks) -> None:
        for code in GOOD_CODES:
            with talks.socket() as client:
                client.open(f"/close?{code}&why")
                assert client.frame() == closing(code, "why")
                found = talks.outcome(client.send(close(1001, "other")))
                assert found == Outcome([], [], 0, code, "why", [])


VALID = ["", "a", "é", "€", "😀", "\ud7ff\ue000\uffff\U00010000\U0010ffff", "\0"]
INVALID = [b"\x80", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
           b"\xff", b"a\xe2(", b"\xe2\x82"]  # fmt: skip
TEXTS: Streams = {
    "valid": (b"".join(text(each) for each in VALID), VALID, 1000),
    "a character over three frames": (fragments(TEXT, *("€".encode()[at : at + 1] for at in range(3))), ["€"], 1000),
    **{f"invalid {bad.hex()}": (text(b"abcdefgh" + bad), [], BAD_DATA) for bad in INVALID},
    **{f"invalid {bad.hex()} in frames": (fragments(TEXT, b"a" + bad[:1], bad[1:]), [], BAD_DATA) for bad in INVALID},
    "binary is no text": (b"".join(binary(bad) for bad in INVALID), INVALID, 1000),
}
# Of a frame that is not complete: the bytes behind which no text can go on.
EARLY = [b"a\xff", b"\xc0", b"\xe2\x28", b"\xed\xa0", b"\xf4\x90"]


class TestText:
    @streams(TEXTS)
    def test_5_6_and_8_1(self, talks: Talks, name: str) -> None:
        check(talks, TEXTS, name)

    @pytest.mark.parametrize("start", EARLY)
    def test_8_1_before_the_message_is_complete(self, talks: Talks, start: bytes) -> None:
        """Python's decoder, which the others use, takes half a surrogate for the beginning of something."""
        more = b"" if talks.implementation == "auto" else b"\x80"
        found = talks.tell(frame(TEXT, start + more), end=b"")
        assert (found.messages, found.code, found.seen) == ([], BAD_DATA, BAD_DATA)

    @pytest.mark.parametrize("start", EARLY)
    def test_8_1_before_the_frame_is_complete(self, talks: Talks, start: bytes) -> None:
        """websockets looks at whole frames."""
        more = {"auto": b"", "wsproto": b"\x80", "websockets": b"x" * (50 - len(start))}[talks.implementation]
        found = talks.tell(frame(FIN | TEXT, start + more, announced=50), end=b"")
        assert (found.messages, found.code, found.seen) == ([], BAD_DATA, BAD_DATA)


class TestClosing:
    def test_7_1_1_the_server_ends_the_connection(self, talks: Talks) -> None:
        """With nothing behind its close frame, and without waiting for the client to do so."""
        with talks.socket() as client:
            client.open("/echo")
            assert client.send(text("a")).frame() == (TEXT, b"a")
            assert client.send(close(1000)).frames() == [closing(1000)]

    def test_5_5_1_what_came_before_the_close_frame_is_answered(self, talks: Talks) -> None:
        """A close frame is an answer's end, also of one that comes in the same packet; the others answer it first."""
        found = talks.tell(text("a") + ONE_PING + binary(b"b"), path="/echo", end=close(3000))
        answers = [(TEXT, b"a"), (BINARY, b"b")] if talks.implementation == "auto" else []
        assert found == Outcome(["a", b"b"], [b"p"], 3000, 3000, "", answers)

    def test_7_1_4_a_client_that_does_not_answer_with_a_frame(self, talks: Talks) -> None:
        with talks.socket() as client:
            client.open("/close?1000")
            assert client.frame() == closing(1000)
            client.end()
            assert talks.outcome(client) == Outcome([], [], 0, 1000, "", [])

    def test_7_1_5_and_7_2_1_no_close_frame(self, talks: Talks) -> None:
        with talks.socket() as client:
            client.open()
            client.send(text("a")).end()
            found = talks.outcome(client)
        assert found == Outcome(["a"], [], 0, 1006, "", [])

    def test_7_1_7_the_client_may_still_be_sending(self, talks: Talks) -> None:
        """Its bytes are dropped: closing with them unread would reset the connection, and the close frame be lost."""
        found = talks.tell(frame(FIN | 3), binary(bytes(1000)) * 300)
        assert (found.messages, found.code) == ([], FAULT)

    def test_7_4_1_what_no_frame_may_carry_is_not_sent(self, talks: Talks) -> None:
        """A close frame without a code is answered by one without."""
        with talks.socket() as client:
            client.open()
            assert client.send(close(None)).frame() == (CLOSE, b"")
            assert talks.outcome(client) == Outcome([], [], 0, 1005, "", [])


SIZES: Streams = {
    "a message of the limit": (binary(bytes(MAX_SIZE)), [bytes(MAX_SIZE)], 1000),
    "a text of the limit": (text("é" * (MAX_SIZE // 2)), ["é" * (MAX_SIZE // 2)], 1000),
    "fragments of the limit": (fragments(BINARY, *[b"x" * 100] * 10), [b"x" * 1000], 1000),
    "each message for itself": (binary(bytes(600)) * 3, [bytes(600)] * 3, 1000),
    "a message over it": (text("a") + binary(bytes(MAX_SIZE + 1)), ["a"], TOO_BIG),
    "a text over it, in bytes": (text("é" * (MAX_SIZE // 2) + "a"), [], TOO_BIG),
    "fragments over it": (fragments(BINARY, *[b"x" * 100] * 10, b"x"), [], TOO_BIG),
}


class TestLimits:
    @streams(SIZES)
    def test_10_4_the_size_of_a_message(self, talks: Talks, name: str) -> None:
        check(talks, SIZES, name)

    @pytest.mark.parametrize("size", [MAX_SIZE + 1, 70_000, 1 << 40, (1 << 63) - 1])
    def test_10_4_before_the_payload_comes(self, talks: Talks, size: int) -> None:
        """The header is enough; wsproto, which does not tell of a frame without a payload, needs what is too much."""
        head = frame(FIN | BINARY, announced=size)
        found = talks.tell(head, bytes(MAX_SIZE + 1) if talks.implementation == "wsproto" else b"", end=b"")
        assert (found.messages, found.code, found.seen) == ([], TOO_BIG, TOO_BIG)

    def test_10_4_before_the_payload_of_a_fragment_comes(self, talks: Talks) -> None:
        head = frame(BINARY, bytes(MAX_SIZE)) + frame(0, announced=1)
        found = talks.tell(head, b"x" if talks.implementation == "wsproto" else b"", end=b"")
        assert (found.messages, found.code, found.seen) == ([], TOO_BIG, TOO_BIG)

    def test_10_4_the_fragments_of_a_message(self, compiled: Talks) -> None:
        """Each costs time and brings nothing."""
        most = 1 << 18
        data = frame(BINARY) + frame(0) * (most - 1)
        found = compiled.tell(data, frame(FIN))
        assert (found.messages, found.code) == ([], TOO_BIG)
        found = compiled.tell(data[: -len(frame(0))], frame(FIN))
        assert (found.messages, found.code) == ([b""], 1000)
