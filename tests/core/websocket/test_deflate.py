"""permessage-deflate, by the sections of RFC 7692."""

from __future__ import annotations

import itertools
import random
import tracemalloc
import zlib
from typing import Any

import pytest
from core.frames import BINARY, FIN, PING, RSV1, TEXT, Events, cuts, events_of, fault_of, frame, read

from fastserve._core import testing as wsframe
from fastserve._core.errors import ProtocolError
from fastserve._core.testing import Deflater, Inflater, negotiation
from fastserve._core.websocket.deflate import Parameters

TAIL = b"\x00\x00\xff\xff"
HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1
NAME = b"permessage-deflate"


def squeeze(*messages: bytes, bits: int = 15, takeover: bool = True, level: int = 6) -> list[bytes]:
    """Payloads as a client makes them of messages."""
    payloads = []
    stream = zlib.compressobj(level, wbits=-bits)
    for message in messages:
        if not takeover:
            stream = zlib.compressobj(level, wbits=-bits)
        payload = stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)
        assert payload.endswith(TAIL)
        payloads.append(payload[:-4])
    return payloads


def packed(payload: bytes, opcode: int = BINARY, parts: int = 1) -> bytes:
    """The frames of a compressed message, its payload in this many fragments."""
    pieces = cuts(payload, -(-len(payload) // parts)) or [b""]
    first, last = RSV1 | opcode, len(pieces) - 1
    return b"".join(
        frame((FIN if number == last else 0) | (0 if number else first), piece) for number, piece in enumerate(pieces)
    )


class TestNegotiation:
    @pytest.mark.parametrize(
        ("offer", "response"),
        [
            (b"", b""),
            (b"; server_no_context_takeover", b"; server_no_context_takeover"),
            (b"; client_no_context_takeover", b"; client_no_context_takeover"),
            (b"; client_max_window_bits", b"; client_max_window_bits=12"),
            (b"; client_max_window_bits=15", b"; client_max_window_bits=12"),
            (b"; client_max_window_bits=12", b"; client_max_window_bits=12"),
            (b"; client_max_window_bits=8", b"; client_max_window_bits=8"),
            (b'; client_max_window_bits="1\\0"', b"; client_max_window_bits=10"),
        ],
    )
    def test_what_the_client_may_ask_for(self, offer: bytes, response: bytes) -> None:
        """RFC 7692 section 7.1."""
        for server, given in (
            (b"", b""),
            (b"; server_max_window_bits=15", b"; server_max_window_bits=12"),
            (b";server_max_window_bits=9", b"; server_max_window_bits=9"),
        ):
            value, _ = negotiation([NAME + server + offer])
            assert value is not None
            assert sorted(value.split(b"; ")) == sorted((NAME + given + response).split(b"; "))

    def test_every_combination(self) -> None:
        choices: list[list[bytes | None]] = [
            [None, b""],
            [None, b""],
            [None, *(b"=%d" % bits for bits in range(9, 16))],
            [None, b"", *(b"=%d" % bits for bits in range(8, 16))],
        ]
        names = [
            b"server_no_context_takeover",
            b"client_no_context_takeover",
            b"server_max_window_bits",
            b"client_max_window_bits",
        ]
        for values in itertools.product(*choices):
            given = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            value, parameters = negotiation([b"; ".join([NAME, *(name + value for name, value in given.items())])])
            assert value is not None and parameters is not None
            response = dict(item.partition(b"=")[::2] for item in value.split(b"; ")[1:])
            assert (names[0] in response) == (names[0] in given) == (not parameters.server_takeover)
            assert (names[1] in response) == (names[1] in given) == (not parameters.client_takeover)
            assert parameters.server_bits == int(response.get(names[2], 12)) == min(12, bits_of(given.get(names[2])))
            assert (names[2] in response) == (names[2] in given)
            assert (names[3] in response) == (names[3] in given)
            assert parameters.client_bits == (min(12, bits_of(given[names[3]])) if names[3] in given else 15)
            assert int(response.get(names[3], 15)) == parameters.client_bits

    @pytest.mark.parametrize(
        "parameters",
        [
            b"server_no_context_takeover=1",
            b"client_no_context_takeover=x",
            b"server_max_window_bits",
            b"unknown",
            b"unknown=1",
            b"Client_Max_Window_Bits",
            *(
                name + b"_max_window_bits=" + value
                for name in (b"server", b"client")
                for value in (b"7", b"16", b"08", b"0", b"x", b"100", b"1.0", b"+9", b'"7"')
            ),
            b"server_max_window_bits=8",  # zlib has no such window
            b"client_max_window_bits; client_max_window_bits",
            b"client_max_window_bits=10; client_max_window_bits=10",
            b"server_max_window_bits=10; server_max_window_bits=11",
            b"server_no_context_takeover; server_no_context_takeover",
            b"client_no_context_takeover; client_no_context_takeover",
        ],
    )
    def test_what_is_declined(self, parameters: bytes) -> None:
        """RFC 7692 section 7.1: unknown, duplicate and invalid parameters; then the next offer counts."""
        offer = NAME + b"; " + parameters
        assert negotiation([offer]) == (None, None)
        assert negotiation([offer + b", permessage-deflate"])[0] == NAME
        assert negotiation([offer, b"x-other, " + offer, NAME])[0] == NAME

    def test_the_first_acceptable_offer_wins(self) -> None:
        both = [NAME + b"; server_max_window_bits=9", NAME]
        assert negotiation(both)[0] == NAME + b"; server_max_window_bits=9"
        assert negotiation(both[::-1])[0] == NAME
        assert negotiation([b", ".join(both)])[0] == NAME + b"; server_max_window_bits=9"

    @pytest.mark.parametrize("values", [[], [b""], [b" , ,"], [b"x-webkit-deflate-frame"], [b'a; b="c"; d=e', b"f"]])
    def test_nothing_to_accept(self, values: list[bytes]) -> None:
        assert negotiation(values) == (None, None)

    @pytest.mark.parametrize(
        "value",
        [
            b";",
            b"permessage-deflate;",
            b"permessage-deflate; ;",
            b"permessage-deflate; a=",
            b"permessage-deflate; =9",
            b"permessage-deflate a",
            b"permessage-deflate; a b",
            b"permessage-deflate; a=b c",
            b'permessage-deflate; a="b',
            b'permessage-deflate; a="b\\"',
            b'permessage-deflate; a="b c"',
            b'permessage-deflate; a=""',
            b"permessage-deflate, (",
            b"permessage-deflate\r\n",
            b"\xc3\xa9",
        ],
    )
    def test_what_is_malformed(self, value: bytes) -> None:
        """RFC 6455 section 9.1: what is not the syntax of the field fails the handshake."""
        with pytest.raises(ProtocolError, match="400: Sec-WebSocket-Extensions"):
            negotiation([value])

    def test_it_takes_time_in_proportion(self) -> None:
        long = b"permessage-deflate" + b"; a=b" * 10_000 + b', x; y="' + b"\\a" * 10_000
        with pytest.raises(ProtocolError):
            negotiation([long])


def bits_of(value: bytes | None) -> int:
    return int(value[1:]) if value else 15


class TestInflate:
    def test_examples_of_the_rfc(self) -> None:
        """RFC 7692 section 7.2.3."""
        assert events_of(packed(HELLO, TEXT), bits=15) == [("text", "Hello")]
        assert events_of(frame(RSV1 | TEXT, HELLO[:3]) + frame(FIN, HELLO[3:]), bits=15) == [("text", "Hello")]
        again = bytes.fromhex("f200110000")  # refers to the message before
        assert events_of(packed(HELLO, TEXT) + packed(again, TEXT), bits=15) == [("text", "Hello")] * 2
        stored = bytes.fromhex("000500faff48656c6c6f00")
        assert events_of(packed(stored, TEXT), bits=15) == [("text", "Hello")]
        final = bytes.fromhex("f348cdc9c9070000")
        assert events_of(packed(final, TEXT) * 3 + packed(HELLO, TEXT), bits=15) == [("text", "Hello")] * 4
        two = bytes.fromhex("f24805000000ffffcac9c90700")
        assert events_of(packed(two, TEXT), bits=15) == [("text", "Hello")]

    @pytest.mark.parametrize("takeover", [True, False])
    @pytest.mark.parametrize("bits", range(9, 16))
    def test_every_window(self, bits: int, takeover: bool) -> None:
        source = random.Random(bits)
        messages = [bytes(source.choices(b"abcdefgh", k=size)) for size in (0, 1, 300, 5000, 70_000, 40)]
        messages.append(messages[3])
        expected: Events = [("binary", message) for message in messages]
        payloads = squeeze(*messages, bits=bits, takeover=takeover)
        for parts in (1, 2, 5):
            stream = b"".join(packed(payload, parts=parts) for payload in payloads)
            for size in (1, 7, 1000, len(stream)):
                assert read(*cuts(stream, size), bits=bits, takeover=takeover, max_size=70_000) == expected

    def test_without_takeover_no_message_refers_to_another(self) -> None:
        """RFC 7692 section 7.1.1."""
        data = b"".join(packed(payload) for payload in squeeze(b"Hello" * 20, b"Hello" * 20))
        assert [event[0] for event in read(data, bits=15)] == ["binary", "binary"]
        assert [event[0] for event in read(data, bits=15, takeover=False)] == ["binary", "fault"]

    def test_plain_and_control_frames_between(self) -> None:
        first, second = (packed(payload, TEXT, 3) for payload in squeeze(b"a" * 50, b"a" * 60))
        ping = frame(FIN | PING, b"p")
        split = len(frame(RSV1 | TEXT, b"x" * 2)) - 2
        assert len(first) > split
        data = first + frame(FIN | TEXT, b"plain") + ping + second
        assert events_of(data, bits=15) == [("text", "a" * 50), ("text", "plain"), ("ping", b"p"), ("text", "a" * 60)]

    def test_rsv1_is_of_the_first_frame_alone(self) -> None:
        """RFC 7692 section 6."""
        data = frame(RSV1 | TEXT, HELLO[:3]) + frame(FIN | RSV1, HELLO[3:])
        assert fault_of(data, bits=15) == (1002, "frame cannot be compressed")
        assert fault_of(frame(FIN | RSV1 | PING), bits=15) == (1002, "frame cannot be compressed")
        assert fault_of(packed(HELLO, TEXT)) == (1002, "frame cannot be compressed")

    def test_a_payload_of_nothing_is_an_empty_message(self) -> None:
        data = frame(FIN | RSV1 | TEXT) + packed(HELLO, TEXT) + frame(RSV1 | TEXT) + frame(FIN) + packed(b"\0", TEXT)
        assert events_of(data, bits=15) == [("text", ""), ("text", "Hello"), ("text", ""), ("text", "")]

    def test_final_blocks(self) -> None:
        """RFC 7692 section 7.2.3.4: what comes after one is a part of the message like any other."""
        stream = zlib.compressobj(wbits=-15)
        block = stream.compress(b"abc" * 10) + stream.flush(zlib.Z_FINISH)
        (rest,) = squeeze(b"def" * 10)
        content = b"abc" * 20 + b"def" * 10
        for payload in (block * 2 + rest, b"\x03\x00" + block * 2 + rest):
            for parts in (1, 2, 3, len(payload)):
                data = packed(payload, parts=parts) * 2 + packed(HELLO)
                events = read(*cuts(data, 5), bits=15, max_fragments=0)
                assert events == read(data, bits=15, max_fragments=0)
                assert events == [("binary", content)] * 2 + [("binary", b"Hello")]
        # The empty block that should follow is missing.
        assert (
            events_of((packed(block) + packed(HELLO)) * 2, bits=15)
            == [
                ("binary", b"abc" * 10),
                ("binary", b"Hello"),
            ]
            * 2
        )

    def test_what_looks_like_the_tail_behind_a_final_block(self) -> None:
        """A stored block of 65280 bytes begins with the four bytes that the end of a message lacks."""
        content = bytes(range(256)) * 255
        payload = b"\x03\x00" + TAIL + b"\x00" + content + b"\x00"
        data = packed(payload)
        for at in range(len(data) - len(payload), len(data) - len(payload) + 10):
            assert read(data[:at], data[at:], bits=15, max_size=70_000) == [("binary", content)]

    def test_final_blocks_are_counted(self) -> None:
        """Each of two bytes costs a new context."""
        assert len(events_of(packed(b"\x03\x00" * 64 + b"\x00") * 2, bits=15)) == 2
        assert fault_of(packed(b"\x03\x00" * 65 + b"\x00"), bits=15) == (1007, "message has too many final blocks")

    @pytest.mark.parametrize("payload", [b"\xff" * 20, b"\x06", b"\x07\x00\x00", HELLO[:-1] + b"\xff" * 9])
    def test_what_is_not_deflate(self, payload: bytes) -> None:
        assert fault_of(packed(payload), bits=15)[0] == 1007

    def test_a_window_larger_than_agreed(self) -> None:
        (payload,) = squeeze((head := random.Random(1).randbytes(600)) + bytes(20_000) + head, bits=15)
        assert len(read(packed(payload), bits=15, max_size=30_000)) == 1
        # Seen where zlib does not have those bytes any more, which is not so within one input.
        events = read(*cuts(packed(payload), 100), bits=9, max_size=30_000)
        assert events == [("fault", 1007, "compressed data is not valid")]

    def test_text_is_checked_after_inflation(self) -> None:
        (good,) = squeeze("é€😀".encode() * 9)
        assert events_of(packed(good, TEXT, 5), bits=15) == [("text", "é€😀" * 9)]
        for bad in (b"abc\xff", b"\xe2\x82", b"x" * 100 + b"\xed\xa0\x80"):
            (payload,) = squeeze(bad)
            assert fault_of(packed(payload, TEXT), bits=15) == (1007, "text is not UTF-8")
            assert fault_of(packed(payload, TEXT, 3), bits=15) == (1007, "text is not UTF-8")

    def test_it_fails_before_the_frame_is_complete(self) -> None:
        stream = zlib.compressobj(wbits=-15)
        start = stream.compress(b"abc\xff") + stream.flush(zlib.Z_SYNC_FLUSH)
        assert read(frame(FIN | RSV1 | TEXT, start, announced=500), bits=15) == [("fault", 1007, "text is not UTF-8")]
        huge = stream.compress(bytes(2000)) + stream.flush(zlib.Z_SYNC_FLUSH)
        data = frame(FIN | RSV1 | BINARY, start + huge, announced=500)
        assert read(data, bits=15) == [("fault", 1009, "message is too big")]


class TestBounds:
    @pytest.mark.parametrize("size", [0, 1, 100, 32768, 100_000])
    def test_the_limit_is_for_the_message(self, size: int) -> None:
        for content in (bytes(size), random.Random(size).randbytes(size)):
            payload, more = squeeze(content, content + b"x", takeover=False)
            assert read(packed(payload), bits=15, max_size=size or 1) == [("binary", content)]
            assert read(*cuts(packed(payload), 1000), bits=15, max_size=size or 1) == [("binary", content)]
            if size:
                for inputs in ([packed(more)], cuts(packed(more), 1000), [packed(more, parts=4)]):
                    assert read(*inputs, bits=15, max_size=size) == [("fault", 1009, "message is too big")]

    def test_bad_text_is_found_before_the_limit_however_it_comes(self) -> None:
        (payload,) = squeeze(b"ab\xff" + b"x" * 500)
        assert fault_of(packed(payload, TEXT), bits=15, max_size=100) == (1007, "text is not UTF-8")

    def test_a_bomb_is_not_inflated(self) -> None:
        """64 MB from 64 KB, against a limit of 1 MB: no more than that is ever held."""
        (bomb,) = squeeze(bytes(64 << 20), level=9)
        data = packed(bomb)
        assert len(data) < 80_000
        for inputs in ([data], cuts(data, 500)):
            tracemalloc.start()
            assert read(*inputs, bits=15, max_size=1 << 20) == [("fault", 1009, "message is too big")]
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 4 << 20

    def test_blocks_of_nothing_have_an_end(self) -> None:
        """A payload may be a little larger than the message, not without bound."""
        nothing = b"\x00\x00\x00\xff\xff"
        assert read(packed(nothing * 200 + b"\x00"), bits=15, max_size=100) == [("binary", b"")]
        assert fault_of(packed(nothing * 300 + b"\x00"), bits=15, max_size=100) == (1009, "message is too big")
        assert fault_of(packed(nothing * 300 + b"\x00", parts=7), bits=15, max_size=100)[0] == 1009

    def test_no_limit(self) -> None:
        (payload,) = squeeze(bytes(1 << 20))
        assert read(packed(payload), bits=15, max_size=0) == [("binary", bytes(1 << 20))]

    def test_it_holds_no_more_than_twice_what_came(self) -> None:
        reader = wsframe.FrameReader(1 << 24, 0, Inflater(15, True))
        (payload,) = squeeze(random.Random(1).randbytes(200_000))
        reader.feed(packed(payload, parts=2)[:-1])
        assert 100_000 < reader.holds() < 400_010


class TestDeflate:
    @pytest.mark.parametrize("takeover", [True, False])
    @pytest.mark.parametrize("bits", range(9, 16))
    def test_a_client_inflates_what_was_deflated(self, bits: int, takeover: bool) -> None:
        source = random.Random(bits)
        deflater, client = Deflater(bits, takeover), zlib.decompressobj(-bits)
        for size in (0, 1, 500, 500, 70_000, 300_000, 10):
            message = bytes(source.choices(b"abcdefgh", k=size))
            if not takeover:
                client = zlib.decompressobj(-bits)
            payload = deflater.feed(message)
            assert client.decompress(payload + TAIL) == message
            assert not client.unused_data and not client.eof
            assert payload and not payload.endswith(TAIL)

    def test_takeover(self) -> None:
        message = random.Random(2).randbytes(1000)
        first, second = (Deflater(12, True).feed(message) for _ in range(2))
        assert first == second
        deflater = Deflater(12, True)
        assert len(deflater.feed(message)) > 1000 > 100 > len(deflater.feed(message))
        deflater = Deflater(12, False)
        assert deflater.feed(message) == deflater.feed(message), "nothing is carried over"

    def test_connections_without_takeover_share_nothing_that_can_be_seen(self) -> None:
        """They take turns with a context; what one sent must not show in what the next sends."""
        secret = random.Random(3).randbytes(2000)
        alone = Deflater(11, False).feed(b"x" + secret)
        Deflater(11, False).feed(b"y" * 3000)
        assert Deflater(11, False).feed(b"x" + secret) == alone
        assert len(alone) > 2000

    def test_a_client_inflates_across_a_release(self) -> None:
        """The window of the receiver may hold more than the sender refers to."""
        deflater, client = Deflater(12, True), zlib.decompressobj(-12)
        for _ in range(3):
            for _ in range(2):
                assert client.decompress(deflater.feed(b"message" * 50) + TAIL) == b"message" * 50
            deflater.forget()

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_small_messages_are_left_as_they_are(self, opcode: int) -> None:
        deflater = Deflater(12, True)
        small, large = b"x" * 255, b"x" * 256
        assert wsframe.message(opcode, small, deflater) == frame(FIN | opcode, small, key=None)
        data = wsframe.message(opcode, large, deflater)
        assert data[0] == FIN | RSV1 | opcode
        assert zlib.decompressobj(-12).decompress(data[2:] + TAIL) == large

    @pytest.mark.parametrize("size", [1000, 70_000])
    def test_lengths_of_compressed_frames(self, size: int) -> None:
        content = random.Random(size).randbytes(size)
        data = wsframe.message(BINARY, content, Deflater(12, True))
        header = 4 if size == 1000 else 10
        assert int.from_bytes(data[2:header], "big") == len(data) - header
        assert zlib.decompressobj(-12).decompress(data[header:] + TAIL) == content


def test_contexts_are_made_with_the_first_message() -> None:
    """An idle connection has none."""

    def cost(make: Any) -> int:
        tracemalloc.start()
        made = [make() for _ in range(50)]
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert made
        return size // 50

    _, parameters = negotiation([NAME])
    assert isinstance(parameters, Parameters)
    assert cost(lambda: (Inflater(15, True), Deflater(12, True))) < 400
    assert cost(lambda: wsframe.FrameReader(1 << 24, 1000, Inflater(15, True))) < 700
