"""Frames in and out, by the sections of RFC 6455 that say what is right."""

from __future__ import annotations

import random

import pytest
from core.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Events,
    binary,
    cuts,
    events_of,
    fault_of,
    fragments,
    frame,
    read,
    text,
)

from fastserve._core import testing as wsframe
from fastserve._core.testing import FrameReader

KINDS = [pytest.param(TEXT, id="text"), pytest.param(BINARY, id="binary")]
EURO = "€".encode()
BAD_TEXTS = [b"\x80", b"a\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x28", b"abcdefgh\xff", b"\xe2\x82"]


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 9, 15, 16, 63, 125, 126, 127, 1000])
    def test_every_form_of_length(self, size: int) -> None:
        data = random.Random(size).randbytes(size)
        assert events_of(binary(data)) == [("binary", data)]
        assert events_of(text("x" * size)) == [("text", "x" * size)]

    @pytest.mark.parametrize("size", [65535, 65536, 300_000])
    def test_long_ones(self, size: int) -> None:
        data = random.Random(size).randbytes(size)
        for pieces in (1, 13, 4096, 65536, 1 << 20):
            assert read(*cuts(binary(data), pieces * 8 + 3), max_size=size) == [("binary", data)]

    def test_text_is_a_str_of_any_width(self) -> None:
        for content in ("", "a", "é", "€", "😀", "ab" * 50 + "é", "aé€😀" * 30):
            assert events_of(text(content)) == [("text", content)]

    def test_ascii_is_a_str_like_any_other(self) -> None:
        ((_, message),) = read(text("key" * 10))
        assert message.isascii() and {"key" * 10: 1}[message] and message.encode() == b"key" * 10

    @pytest.mark.parametrize("opcode", KINDS)
    @pytest.mark.parametrize("key", [b"\0\0\0\0", b"\x01\x02\x03\x04", b"\xff\x80\x7f\x00"])
    def test_masks_across_words_and_pieces(self, opcode: int, key: bytes) -> None:
        for size in range(40):
            data = bytes(range(33, 33 + size))
            whole = frame(FIN | opcode, data, key=key)
            expected = [("text", data.decode()) if opcode == TEXT else ("binary", data)]
            for first in range(7, len(whole)):
                for second in range(first, min(first + 9, len(whole))):
                    assert read(whole[:first], whole[first:second], whole[second:]) == expected

    def test_several_in_one_read(self) -> None:
        assert events_of(text("a") + binary(b"b") + text("c")) == [("text", "a"), ("binary", b"b"), ("text", "c")]

    @pytest.mark.parametrize("opcode", KINDS)
    def test_fragments(self, opcode: int) -> None:
        for parts in ((b"ab", b"cd"), (b"", b"ab", b"", b"c"), (b"", b""), (b"a", b""), (b"", b"a")):
            content = b"".join(parts)
            expected = ("text", content.decode()) if opcode == TEXT else ("binary", content)
            assert events_of(fragments(opcode, *parts) + text("next")) == [expected, ("text", "next")]

    def test_a_character_across_fragments(self) -> None:
        assert events_of(fragments(TEXT, EURO[:1], EURO[1:2], EURO[2:])) == [("text", "€")]

    def test_control_frames_between_fragments(self) -> None:
        """RFC 6455 section 5.4."""
        data = frame(TEXT, b"a") + frame(FIN | PING, b"1") + frame(0, b"b") + frame(FIN | PONG) + frame(FIN, b"c")
        assert events_of(data) == [("ping", b"1"), ("pong", b""), ("text", "abc")]

    def test_a_close_between_fragments_ends_it(self) -> None:
        assert events_of(frame(TEXT, b"a") + frame(FIN | CLOSE) + frame(FIN, b"b")) == [("close", 1005, "")]

    @pytest.mark.parametrize(("opcode", "name"), [(PING, "ping"), (PONG, "pong")])
    @pytest.mark.parametrize("size", [0, 1, 125])
    def test_control_frames(self, opcode: int, name: str, size: int) -> None:
        assert events_of(frame(FIN | opcode, b"x" * size)) == [(name, b"x" * size)]


class TestClose:
    def test_without_a_code(self) -> None:
        assert events_of(frame(FIN | CLOSE)) == [("close", 1005, "")]

    @pytest.mark.parametrize("reason", ["", "bye", "é€😀", "x" * 123])
    def test_code_and_reason(self, reason: str) -> None:
        assert events_of(frame(FIN | CLOSE, b"\x03\xe8" + reason.encode())) == [("close", 1000, reason)]

    def test_codes(self) -> None:
        """RFC 6455 section 7.4 and the registry: what is valid can be read and written, the rest neither."""
        valid = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
        for code in range(65536):
            payload = code.to_bytes(2, "big")
            ((kind, found, _),) = read(frame(FIN | CLOSE, payload))
            assert (kind, found) == (("close", code) if code in valid else ("fault", 1002)), code
        for code in valid:
            assert wsframe.close(code, b"") == b"\x88\x02" + code.to_bytes(2, "big")
        for code in (-1, 0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535, 65536 + 1000):
            with pytest.raises(ValueError, match=f"invalid close code: {code}"):
                wsframe.close(code, b"")

    def test_faults(self) -> None:
        assert fault_of(frame(FIN | CLOSE, b"\x03")) == (1002, "close code is cut short")
        for reason in BAD_TEXTS:
            assert fault_of(frame(FIN | CLOSE, b"\x03\xe8" + reason)) == (1007, "close reason is not UTF-8")

    @pytest.mark.parametrize("end", [frame(FIN | CLOSE), frame(FIN | 3)], ids=["close", "fault"])
    def test_nothing_is_read_behind_it(self, end: bytes) -> None:
        reader = FrameReader(100, 8)
        assert len(reader.feed(end + text("a") + frame(FIN | 3))) == 1
        assert reader.feed(text("a")) == []
        assert reader.feed(b"\xff") == []


FAULTS = [
    pytest.param(frame(first, b"x"), code, reason, id=f"{first:08b}")
    for first, code, reason in [
        *((FIN | bit | opcode, 1002, "reserved bit is set") for bit in (RSV2, RSV3) for opcode in (1, 2, 8, 9, 10)),
        *((FIN | RSV1 | opcode, 1002, "frame cannot be compressed") for opcode in (1, 2, 8, 9, 10, 0)),
        *((FIN | opcode, 1002, "opcode is reserved") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        *((opcode, 1002, "opcode is reserved") for opcode in (3, 7, 11, 15)),
        *((opcode, 1002, "control frame is fragmented") for opcode in (CLOSE, PING, PONG)),
        (FIN | CONTINUATION, 1002, "no message to continue"),
        (CONTINUATION, 1002, "no message to continue"),
    ]
]


class TestFaults:
    @pytest.mark.parametrize(("data", "code", "reason"), FAULTS)
    def test_first_byte(self, data: bytes, code: int, reason: str) -> None:
        assert fault_of(data) == (code, reason)
        assert read(data[:1]) == [("fault", code, reason)], "the first byte is enough"
        assert fault_of(text("before") + data) == (code, reason)

    @pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
    @pytest.mark.parametrize("size", [0, 5])
    def test_no_mask(self, opcode: int, size: int) -> None:
        data = frame(FIN | opcode, b"x" * size, key=None)
        assert fault_of(data) == (1002, "frame is not masked")
        assert read(data[:2]) == [("fault", 1002, "frame is not masked")]

    @pytest.mark.parametrize("opcode", KINDS)
    def test_a_message_within_a_message(self, opcode: int) -> None:
        assert fault_of(frame(TEXT, b"a") + frame(opcode, b"b")) == (1002, "message was not complete")
        assert fault_of(frame(opcode) + frame(FIN | opcode)) == (1002, "message was not complete")

    def test_nothing_to_continue_after_a_message(self) -> None:
        assert fault_of(fragments(TEXT, b"a", b"b") + frame(FIN)) == (1002, "no message to continue")

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    @pytest.mark.parametrize(("size", "form"), [(126, 16), (5, 16), (65536, 64)])
    def test_long_control_frames(self, opcode: int, size: int, form: int) -> None:
        data = frame(FIN | opcode, announced=size, form=form)
        assert fault_of(data) == (1002, "control frame is too long")
        assert read(data[:2]) == [("fault", 1002, "control frame is too long")]

    @pytest.mark.parametrize(("size", "form"), [(0, 16), (125, 16), (0, 64), (126, 64), (65535, 64)])
    def test_lengths_not_in_the_shortest_form(self, size: int, form: int) -> None:
        """RFC 6455 section 5.2: the minimal number of bytes must be used."""
        head = frame(FIN | BINARY, announced=size, form=form, key=b"abcd")[:-4]
        assert read(head, max_size=0) == [("fault", 1002, "length is not in its shortest form")]
        assert fault_of(head, max_size=0) == (1002, "length is not in its shortest form")

    @pytest.mark.parametrize("size", [1 << 63, (1 << 64) - 1])
    def test_the_highest_bit_of_a_length(self, size: int) -> None:
        for limit in (0, 1000):
            data = frame(FIN | BINARY, announced=size, form=64)
            assert fault_of(data, max_size=limit) == (1002, "length has its highest bit set")


class TestText:
    @pytest.mark.parametrize("bad", BAD_TEXTS)
    def test_bad_text(self, bad: bytes) -> None:
        """RFC 6455 section 8.1."""
        for content in (bad, b"x" * 30 + bad, "é€😀".encode() + bad):
            assert fault_of(text(content)) == (1007, "text is not UTF-8")
            assert fault_of(fragments(TEXT, content[:1], content[1:])) == (1007, "text is not UTF-8")
            assert fault_of(fragments(TEXT, content, b"")) == (1007, "text is not UTF-8")
            assert events_of(binary(content)) == [("binary", content)]

    @pytest.mark.parametrize("bad", [b"\x80", b"\xc0", b"\xed\xa0", b"\xf4\x90", b"\xe2\x28", b"\xff"])
    @pytest.mark.parametrize("start", [b"", b"x" * 50, EURO])
    def test_it_fails_before_the_frame_is_complete(self, bad: bytes, start: bytes) -> None:
        data = frame(FIN | TEXT, start + bad, announced=500)
        assert read(data) == [("fault", 1007, "text is not UTF-8")]
        assert read(data[:-1]) == [], "not before the byte that no text can have there"
        assert read(frame(TEXT, start) + frame(0, bad, announced=400)) == [("fault", 1007, "text is not UTF-8")]

    def test_the_check_begins_anew_with_each_message(self) -> None:
        assert events_of(fragments(BINARY, EURO[:1], b"") + fragments(TEXT, b"a", b"b"))[1] == ("text", "ab")


class TestLimits:
    @pytest.mark.parametrize("opcode", KINDS)
    def test_too_big(self, opcode: int) -> None:
        assert len(events_of(frame(FIN | opcode, b"x" * 200), max_size=200)) == 1
        assert fault_of(frame(FIN | opcode, b"x" * 201), max_size=200) == (1009, "message is too big")
        assert fault_of(frame(FIN | opcode, b"x" * 100_000), max_size=200) == (1009, "message is too big")

    def test_as_soon_as_the_length_is_known(self) -> None:
        for size, known in ((11, 2), (200, 4), (70000, 10), (1 << 62, 10)):
            head = frame(FIN | BINARY, announced=size)
            assert read(head[:known], max_size=10) == [("fault", 1009, "message is too big")]
            assert read(head[: known - 1], max_size=10) == []

    def test_the_sum_of_the_fragments(self) -> None:
        assert events_of(fragments(BINARY, b"x" * 6, b"x" * 4), max_size=10) == [("binary", b"x" * 10)]
        head = frame(BINARY, b"x" * 6) + frame(FIN, announced=5)
        assert fault_of(head, max_size=10) == (1009, "message is too big")
        assert read(head[:-4], max_size=10) == [("fault", 1009, "message is too big")]

    def test_control_frames_do_not_count(self) -> None:
        assert events_of(frame(FIN | PING, b"x" * 100), max_size=10) == [("ping", b"x" * 100)]

    def test_fragments(self) -> None:
        parts = [b""] * 8
        assert events_of(fragments(TEXT, *parts) + fragments(TEXT, *parts)) == [("text", ""), ("text", "")]
        assert fault_of(fragments(TEXT, *parts, b"")) == (1009, "message has too many fragments")

    def test_none(self) -> None:
        assert read(*[frame(BINARY)] + [frame(0, b"x" * 10)] * 5000, max_size=0, max_fragments=0) == []
        ((_, message),) = read(fragments(BINARY, *[b"x" * 10] * 5000), max_size=0, max_fragments=0)
        assert message == b"x" * 50_000
        assert read(frame(FIN | BINARY, b"x", announced=1 << 62), max_size=0) == []
        assert read(frame(FIN | BINARY, b"x", announced=(1 << 63) - 1), max_size=0)[0][1] == 1009, (
            "no object is so large"
        )

    @pytest.mark.parametrize("limits", [(-1, 1), (1, -1)])
    def test_negative_ones_are_refused(self, limits: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="a limit is negative"):
            FrameReader(*limits)

    def test_what_is_announced_takes_no_memory_before_it_comes(self) -> None:
        for opcode in (TEXT, BINARY):
            reader = FrameReader(1 << 30, 8)
            data = frame(FIN | opcode, b"x" * 300_000, announced=1 << 30)
            assert reader.feed(data[:14]) == []
            assert reader.holds() == 0
            came = 0
            for piece in cuts(data[14:], 997):
                assert reader.feed(piece) == []
                came += len(piece)
                assert came <= reader.holds() <= 2 * came

    def test_small_fragments_do_not_move_the_message_each_time(self) -> None:
        reader = FrameReader(1 << 20, 0)
        reader.feed(frame(BINARY, b"x"))
        sizes = set()
        for _ in range(5000):
            reader.feed(frame(0, b"x"))
            sizes.add(reader.holds())
        assert len(sizes) < 20

    def test_it_holds_nothing_more_than_the_limit_and_nothing_at_the_end(self) -> None:
        for end in (frame(FIN), frame(FIN | CLOSE), frame(3)):
            reader = FrameReader(1000, 8)
            reader.feed(frame(BINARY, b"x" * 501) + frame(0, b"x" * 499))
            assert reader.holds() == 1000
            assert len(reader.feed(end)) == 1
            assert reader.holds() == 0


class TestPut:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20])
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_frames(self, opcode: int, size: int) -> None:
        data = b"x" * size
        assert wsframe.frame(opcode, data) == frame(FIN | opcode, data, key=None)
        assert wsframe.frame(opcode, data, True) == frame(FIN | RSV1 | opcode, data, key=None)
        assert wsframe.message(opcode, data) == frame(FIN | opcode, data, key=None)

    @pytest.mark.parametrize("opcode", [PING, PONG])
    def test_control_frames(self, opcode: int) -> None:
        assert wsframe.frame(opcode, b"x" * 125) == frame(FIN | opcode, b"x" * 125, key=None)

    def test_close(self) -> None:
        assert wsframe.close(1005, b"") == b"\x88\x00"
        assert wsframe.close(1001, b"x" * 123) == b"\x88\x7d\x03\xe9" + b"x" * 123
        with pytest.raises(ValueError, match="the close reason must have at most 123 bytes, not 124"):
            wsframe.close(1000, b"x" * 124)
        with pytest.raises(ValueError, match="invalid close code: 1005"):
            wsframe.close(1005, b"no code to go with it")


def test_pieces_of_every_size_give_the_same_events() -> None:
    data = text("é" * 60) + fragments(BINARY, b"ab" * 80, b"c" * 9) + frame(FIN | PING, b"p" * 20) + binary(b"")
    data += text("end") + frame(FIN | CLOSE, b"\x0f\xa0why")
    expected: Events = read(data)
    assert [event[0] for event in expected] == ["text", "binary", "ping", "binary", "text", "close"]
    for size in range(1, len(data)):
        assert read(*cuts(data, size)) == expected
