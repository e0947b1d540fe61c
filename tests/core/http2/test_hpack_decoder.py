"""Decoding header blocks, in the order of RFC 7541's sections."""

from __future__ import annotations

import contextlib
import sys

import pytest
from core.hpack import Fields, entry, indexed, integer, literal, size_update

from fastserve._core.http2.tables import STATIC
from fastserve._core.testing import HpackDecoder

TABLE_SIZE = 4096


REQUESTS: list[Fields] = [
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [
        (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ],
    [
        (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
]  # fmt: skip
REQUEST_TABLES: list[Fields] = [
    [(b":authority", b"www.example.com")],
    [(b"cache-control", b"no-cache"), (b":authority", b"www.example.com")],
    [(b"custom-key", b"custom-value"), (b"cache-control", b"no-cache"), (b":authority", b"www.example.com")],
]
DATE = b"Mon, 21 Oct 2013 20:13:21 GMT"
LATER = b"Mon, 21 Oct 2013 20:13:22 GMT"
PLACE = b"https://www.example.com"
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
RESPONSES: list[Fields] = [
    [(b":status", b"302"), (b"cache-control", b"private"), (b"date", DATE), (b"location", PLACE)],
    [(b":status", b"307"), (b"cache-control", b"private"), (b"date", DATE), (b"location", PLACE)],
    [
        (b":status", b"200"), (b"cache-control", b"private"), (b"date", LATER), (b"location", PLACE),
        (b"content-encoding", b"gzip"), (b"set-cookie", COOKIE),
    ],
]  # fmt: skip
RESPONSE_TABLES: list[Fields] = [
    RESPONSES[0][::-1],
    [(b":status", b"307"), *RESPONSES[0][:0:-1]],
    [(b"set-cookie", COOKIE), (b"content-encoding", b"gzip"), (b"date", LATER)],
]
EXAMPLES = {
    "C.3": (
        TABLE_SIZE,
        ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
         "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"],
        REQUESTS, REQUEST_TABLES, [57, 110, 164],
    ),
    "C.4": (
        TABLE_SIZE,
        ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
         "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"],
        REQUESTS, REQUEST_TABLES, [57, 110, 164],
    ),
    "C.5": (
        256,
        [
            ("4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f"
            "7777772e6578616d706c652e636f6d"),
            "4803333037c1c0bf",
            ("88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b42"
            "5a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31"),
        ],
        RESPONSES, RESPONSE_TABLES, [222, 222, 215],
    ),
    "C.6": (
        256,
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            ("88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f"
            "3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"),
        ],
        RESPONSES, RESPONSE_TABLES, [222, 222, 215],
    ),
}  # fmt: skip


def decoded(block: bytes) -> Fields:
    return HpackDecoder().fields(block)


def references(field: tuple[bytes, bytes]) -> list[int]:
    return [sys.getrefcount(part) for part in (field, *field)]


def refuses(block: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decoded(block)


class TestIndexes:
    """Section 2.3 and appendix A."""

    def test_static_table(self) -> None:
        assert len(STATIC) == 61
        for index, field in enumerate(STATIC, 1):
            assert decoded(indexed(index)) == [field]
            assert decoded(literal(index, b"v")) == [(field[0], b"v")]

    def test_dynamic_table(self) -> None:
        decoder = HpackDecoder()
        for number in range(3):
            decoder.fields(literal(b"x", b"%d" % number))
        assert decoder.fields(indexed(62) + indexed(63) + indexed(64)) == [(b"x", b"2"), (b"x", b"1"), (b"x", b"0")]
        assert decoder.fields(literal(64, b"3", 0)) == [(b"x", b"3")]

    @pytest.mark.parametrize("entries", [0, 1, 15, 16, 17, 31, 32, 33, 100])
    def test_the_last_index_and_the_next(self, entries: int) -> None:
        decoder = HpackDecoder()
        for number in range(entries):
            decoder.fields(literal(b"x", b"%d" % number))
        last = 61 + entries
        assert decoder.fields(indexed(last)) == [STATIC[60] if entries == 0 else (b"x", b"0")]
        for block in (indexed(last + 1), *(literal(last + 1, b"v", pattern) for pattern in (0x40, 0, 0x10))):
            with pytest.raises(ValueError, match="beyond the tables"):
                decoder.fields(block)

    def test_index_zero(self) -> None:
        refuses(b"\x80", "beyond the tables")

    def test_frequent_names_are_ready_objects(self) -> None:
        first, second = (decoded(literal(b"user-agent", b"v", 0, huffman))[0][0] for huffman in (False, True))
        assert first is second
        assert decoded(indexed(58))[0][0] is first


class TestTableSize:
    """Section 4.1, 4.2 and 6.3."""

    def test_size_of_an_entry(self) -> None:
        decoder = HpackDecoder()
        decoder.fields(literal(b"name", b"value"))
        assert decoder.state()[:2] == (9 + 32, TABLE_SIZE)

    @pytest.mark.parametrize("size", [0, 1, 30, 31, 32, 158, 159, 4095, 4096])
    def test_update(self, size: int) -> None:
        decoder = HpackDecoder()
        assert decoder.fields(size_update(size)) == []
        assert decoder.state()[1] == size

    @pytest.mark.parametrize("size", [4097, 65536, 1 << 29])
    def test_update_over_our_setting(self, size: int) -> None:
        refuses(size_update(size), "table size")

    def test_updates_begin_a_block(self) -> None:
        decoder = HpackDecoder()
        assert decoder.fields(size_update(0) + size_update(4096) + indexed(2)) == [(b":method", b"GET")]
        for field in (indexed(2), literal(b"x", b"y"), literal(b"x", b"y", 0)):
            refuses(field + size_update(0), "table size")
            refuses(size_update(0) + field + size_update(0), "table size")

    def test_sizes_between_blocks(self) -> None:
        """The smallest one counts, also when a larger one follows at once."""
        decoder = HpackDecoder()
        decoder.fields(literal(b"x", b"1"))
        decoder.fields(size_update(33) + size_update(4096))
        assert decoder.table() == []
        decoder.fields(literal(b"x", b"1"))
        decoder.fields(size_update(34) + size_update(4096))
        assert decoder.table() == [(b"x", b"1")]


class TestEviction:
    """Section 4.3 and 4.4."""

    def test_when_the_size_changes(self) -> None:
        decoder = HpackDecoder()
        for number in range(4):
            decoder.fields(literal(b"x", b"%d" % number))  # 34 bytes each
        assert decoder.state()[0] == 136
        decoder.fields(size_update(136))
        assert len(decoder.table()) == 4
        decoder.fields(size_update(135))
        assert decoder.table() == [(b"x", b"3"), (b"x", b"2"), (b"x", b"1")]
        decoder.fields(size_update(0))
        assert decoder.state()[:2] == (0, 0)

    def test_when_an_entry_comes(self) -> None:
        decoder = HpackDecoder()
        decoder.fields(literal(*entry(2048, b"a")) + literal(*entry(2048, b"b")))
        assert decoder.state()[0] == 4096
        decoder.fields(literal(*entry(34, b"c")))
        assert [name for name, _ in decoder.table()] == [b"c", b"b"]
        decoder.fields(literal(*entry(2014, b"d")))
        assert [name for name, _ in decoder.table()] == [b"d", b"c", b"b"]
        assert decoder.state()[0] == 4096

    def test_an_entry_as_large_as_the_table_and_one_past_it(self) -> None:
        decoder = HpackDecoder()
        decoder.fields(literal(b"x", b"1"))
        assert decoder.fields(literal(*entry(4096))) == [entry(4096)]
        assert decoder.table() == [entry(4096)]
        assert decoder.fields(literal(*entry(4097))) == [entry(4097)]
        assert decoder.table() == []

    def test_a_name_of_the_entry_that_goes(self) -> None:
        decoder = HpackDecoder()
        decoder.fields(literal(*entry(4000, b"name")))
        assert decoder.fields(literal(62, b"v" * 100)) == [(b"name", b"v" * 100)]
        assert decoder.table() == [(b"name", b"v" * 100)]

    def test_a_table_of_no_size(self) -> None:
        decoder = HpackDecoder()
        assert decoder.fields(size_update(0) + literal(b"x", b"y")) == [(b"x", b"y")]
        assert decoder.state() == (0, 0, 0)

    def test_as_many_entries_as_there_can_be(self) -> None:
        """128, of an empty name and value; the ring grows with them, and an old one goes for each new one."""
        decoder = HpackDecoder()
        for number in range(128):
            decoder.fields(literal(b"", b""))
            assert decoder.state() == (32 * (number + 1), 4096, max(16, 1 << number.bit_length()))
        for _ in range(300):
            decoder.fields(literal(b"", b""))
        assert decoder.state() == (4096, 4096, 128)
        assert len(decoder.table()) == 128

    @pytest.mark.parametrize("before", range(40))
    def test_growing_wherever_the_ring_begins(self, before: int) -> None:
        decoder = HpackDecoder()
        for number in range(before):
            decoder.fields(literal(b"x", b"%d" % number))
        decoder.fields(size_update(34 * 3) + size_update(4096))
        expected = decoder.table()
        for number in range(50):
            decoder.fields(literal(b"y", b"%d" % number))
            expected.insert(0, (b"y", b"%d" % number))
            assert decoder.table() == expected

    def test_no_reference_is_left(self) -> None:
        decoder = HpackDecoder()
        own = (bytes(bytearray(b"some-name")), bytes(bytearray(b"some value")))
        alone = references(own)
        [field] = decoder.fields(literal(b"some-name", b"some value"))
        assert references(field) == [alone[0] + 1, *alone[1:]]  # the table's
        decoder.fields(size_update(0))
        assert references(field) == alone
        decoder = HpackDecoder()
        [field] = decoder.fields(literal(b"some-name", b"some value"))
        assert decoder.fields(indexed(62) * 5) == [field] * 5
        del decoder
        assert references(field) == alone
        large = literal(b"some-name", b"z" * 5000)
        for block in (literal(b"y", b"\x01") + b"\x80", large, large[:-1]):
            decoder = HpackDecoder()
            [field] = decoder.fields(literal(b"some-name", b"some value"))
            with contextlib.suppress(ValueError):
                decoder.fields(block)
            del decoder
            assert references(field) == alone


class TestIntegers:
    """Section 5.1 and appendix C.1."""

    def test_examples(self) -> None:
        assert integer(0, 5, 10) == b"\x0a"
        assert integer(0, 5, 1337) == b"\x1f\x9a\x0a"
        assert integer(0, 8, 42) == b"\x2a"
        decoder = HpackDecoder()
        decoder.fields(b"\x3f\x9a\x0a")
        assert decoder.state()[1] == 1337

    @pytest.mark.parametrize("block", [b"\x3f", b"\x3f\x80", b"\x3f\x80\x80", b"\xff", b"\x7f", b"\x0f", b"\x1f\xff"])
    def test_cut(self, block: bytes) -> None:
        refuses(block, "malformed index|table size")

    def test_zeros_in_front(self) -> None:
        """They may be there, up to a length."""
        decoder = HpackDecoder()
        decoder.fields(b"\x3f\x80\x80\x80\x80\x00")
        assert decoder.state()[1] == 31
        refuses(b"\x3f\x80\x80\x80\x80\x80\x00", "table size")
        refuses(b"\xff\x80\x80\x80\x80\x80\x00", "malformed index")

    @pytest.mark.parametrize("size", [2, 4, 5, 9, 10, 100, 10_000])
    def test_too_large(self, size: int) -> None:
        for first in (b"\xff", b"\x7f", b"\x0f", b"\x1f", b"\x3f", b"\x00\x7f", b"\x00\xff", b"\x00\x01x\x7f"):
            for last in (b"\x7f", b"\x01", b"\x00" if size > 4 else b"\x7f"):
                with pytest.raises(ValueError, match=r"malformed|beyond|table size|incomplete"):
                    decoded(first + b"\xff" * size + last)


class TestStrings:
    """Section 5.2."""

    @pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 300, 4000, 60_000])
    @pytest.mark.parametrize("huffman", [False, True])
    def test_sizes(self, size: int, huffman: bool) -> None:
        text = b"abcdefghij &~" * (size // 13) + b"z" * (size % 13)
        assert decoded(literal(b"x", text, 0, huffman)) == [(b"x", text)]
        assert decoded(literal(text, b"x", 0, huffman)) == [(text, b"x")]

    @pytest.mark.parametrize("coded", [1267, 1268, 1278, 1279, 1280, 1281, 1290])
    @pytest.mark.parametrize("byte", [b"0", b"\x0a"])
    def test_around_what_the_stack_holds(self, coded: int, byte: bytes) -> None:
        """Texts of the shortest and the longest codes."""
        text = byte * (coded * 8 // (5 if byte == b"0" else 30))
        assert decoded(literal(b"x", text, 0, True)) == [(b"x", text)]
        assert decoded(literal(text, b"x", 0, True)) == [(text, b"x")]

    @pytest.mark.parametrize("pattern", [0x40, 0, 0x10])
    @pytest.mark.parametrize("huffman", [False, True])
    def test_cut_at_every_byte(self, pattern: int, huffman: bool) -> None:
        for name in (b"name", 1):
            block = literal(name, b"value", pattern, huffman)
            for size in range(1, len(block)):
                refuses(block[:size], "incomplete")
            refuses(block + block[:1], "incomplete")

    @pytest.mark.parametrize(
        "coded",
        [
            b"\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc", b"\x00", b"\x07\xff", b"\x1c\x64\xff", b"\x18" * 3,
            b"\x00" * 2001, b"\xff" * 2000,
        ],
    )  # fmt: skip
    def test_wrong_huffman_code(self, coded: bytes) -> None:
        """More padding than 7 bits, or other padding than ones, and the symbol that ends a string."""
        text = integer(0x80, 7, len(coded)) + coded
        refuses(b"\x00\x01x" + text, "Huffman")
        refuses(b"\x00" + text + b"\x01x", "Huffman")


class TestFields:
    """Section 6.1 and 6.2, and appendix C.2."""

    def test_with_indexing(self) -> None:
        decoder = HpackDecoder()
        block = bytes.fromhex("400a637573746f6d2d6b65790d637573746f6d2d686561646572")
        assert decoder.fields(block) == [(b"custom-key", b"custom-header")]
        assert decoder.table() == [(b"custom-key", b"custom-header")]
        assert decoder.state()[0] == 55

    @pytest.mark.parametrize(
        ("block", "field"),
        [
            ("040c2f73616d706c652f70617468", (b":path", b"/sample/path")),  # C.2.2: without indexing
            ("100870617373776f726406736563726574", (b"password", b"secret")),  # C.2.3: never indexed
            ("82", (b":method", b"GET")),  # C.2.4: indexed
        ],
    )
    def test_without_indexing(self, block: str, field: tuple[bytes, bytes]) -> None:
        decoder = HpackDecoder()
        assert decoder.fields(bytes.fromhex(block)) == [field]
        assert decoder.table() == []

    def test_an_empty_block(self) -> None:
        assert decoded(b"") == []

    def test_after_an_error(self) -> None:
        """What came before it in the block is in the table; the connection ends anyway (section 4.3 of RFC 9113)."""
        decoder = HpackDecoder()
        with pytest.raises(ValueError, match="beyond"):
            decoder.fields(literal(b"x", b"y") + b"\x80")
        assert decoder.table() == [(b"x", b"y")]


@pytest.mark.parametrize("name", EXAMPLES)
def test_appendix_c(name: str) -> None:
    size, blocks, expected, tables, sizes = EXAMPLES[name]
    decoder = HpackDecoder()
    decoder.fields(size_update(size))
    for block, fields, table, table_size in zip(blocks, expected, tables, sizes, strict=True):
        assert decoder.fields(bytes.fromhex(block)) == fields
        assert decoder.table() == table
        assert decoder.state()[:2] == (table_size, size)
