"""Encoding header blocks: what is indexed, and what the peer's table size does (RFC 7541 sections 4.2 and 7.1)."""

from __future__ import annotations

import sys

import pytest
from core.hpack import Fields, indexed, integer, literal, size_update, string

from fastserve._core.http2.tables import STATIC
from fastserve._core.testing import HpackDecoder, HpackEncoder

DATE = (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT")
LATER = (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT")
SERVER = (b"server", b"fastserve")
OWN = (b"x-own", b"something")
TABLE_SIZE = 4096


def full(encoder: HpackEncoder, fields: Fields) -> None:
    """Send these fields twice, so that they are in the table."""
    encoder.block(fields)
    encoder.block(fields)


class TestIndexing:
    def test_once_twice_thrice(self) -> None:
        """Plain at first, with indexing the second time, then a byte."""
        encoder = HpackEncoder()
        assert encoder.block([DATE]) == literal(33, DATE[1], 0, huffman=True)
        assert encoder.state() == (0, TABLE_SIZE, 0)
        assert encoder.block([DATE]) == literal(33, DATE[1], 0x40, huffman=True)
        assert encoder.table() == [DATE]
        assert encoder.block([DATE]) == indexed(62)
        assert encoder.block([SERVER]) == literal(54, SERVER[1], 0, huffman=True)
        assert encoder.block([SERVER, SERVER]) == literal(54, SERVER[1], huffman=True) + indexed(62)
        assert encoder.block([DATE]) == indexed(63)

    def test_values_in_turn(self) -> None:
        """What does not come again is not put into the table."""
        encoder = HpackEncoder()
        for number in range(1000):
            encoder.block([(b"x-request-id", b"%032x" % number)])
        assert encoder.table() == []

    def test_many_fields_in_turn(self) -> None:
        """Fields of one response do not keep each other out of the table."""
        encoder = HpackEncoder()
        fields = [(b"x-name-%d" % number, b"value %d" % number) for number in range(30)]
        full(encoder, fields)
        assert encoder.block(fields) == bytes(range(0x80 | 91, 0x80 | 61, -1))

    def test_a_name_of_our_own(self) -> None:
        encoder = HpackEncoder()
        assert encoder.block([OWN]) == literal(*OWN, 0, huffman=True)
        assert encoder.block([OWN]) == literal(*OWN, huffman=True)
        assert encoder.block([(OWN[0], b"another")]) == literal(62, b"another", 0, huffman=True)

    def test_huffman_where_it_is_shorter(self) -> None:
        for value in (b"", b"\xff\xff", b"&&", b"<", b"{}", b"0", b"1"):
            assert HpackEncoder().block([(b"x", value)]) == b"\0" + string(b"x") + string(value)
        for value in (b"000", b"1a2", b"text/html"):
            assert HpackEncoder().block([(b"x", value)]) == b"\0" + string(b"x") + string(value, huffman=True)

    @pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 404, 500])
    def test_status_of_the_static_table(self, status: int) -> None:
        encoder = HpackEncoder()
        expected = indexed(STATIC.index((b":status", b"%d" % status)) + 1)
        assert [encoder.with_status(status) for _ in range(3)] == [expected] * 3

    @pytest.mark.parametrize("status", [100, 103, 201, 299, 401, 503, 999])
    def test_other_status(self, status: int) -> None:
        encoder = HpackEncoder()
        value = b"%d" % status
        plain, second, third = (encoder.with_status(status) for _ in range(3))
        shorter = plain != literal(8, value, 0)
        assert plain == literal(8, value, 0, huffman=shorter)
        assert second == literal(8, value, huffman=shorter)
        assert third == indexed(62)

    @pytest.mark.parametrize("field", [field for field in STATIC if field[0] != b"set-cookie"])
    def test_static_fields(self, field: tuple[bytes, bytes]) -> None:
        """What the static table has whole is sent as that."""
        encoder = HpackEncoder()
        assert [encoder.block([field]) for _ in range(3)] == [indexed(STATIC.index(field) + 1)] * 3

    @pytest.mark.parametrize("length", [0, 9, 10, 65_536, 10**18, (1 << 63) - 1])
    def test_content_length(self, length: int) -> None:
        """It is not in the table after any number of times."""
        encoder = HpackEncoder()
        for _ in range(3):
            block = encoder.with_status(200, length)
            assert block == indexed(8) + literal(28, b"%d" % length, 0)
            assert encoder.block([(b"content-length", b"%d" % length)])[:2] == b"\x0f\x0d"
        assert encoder.table() == []

    @pytest.mark.parametrize(
        "name",
        [
            b"set-cookie", b"authorization", b"proxy-authorization", b"cookie", b"authentication-info",
            b"proxy-authentication-info", b"x-api-key", b"x-auth-token", b"x-csrf-token", b"x-csrftoken",
            b"x-xsrf-token",
        ],
    )  # fmt: skip
    def test_secrets(self, name: bytes) -> None:
        """Never indexed, also by who passes it on (section 7.1.3)."""
        encoder = HpackEncoder()
        index = next((index for index, field in enumerate(STATIC, 1) if field[0] == name), name)
        value = b"\x80\x80"  # which is not shorter in Huffman code
        for _ in range(3):
            block = encoder.block([(name, value)])
            expected = literal(index, value, 0x10)
            if index == name:
                assert block == b"\x10" + string(name, huffman=True) + string(value)
            else:
                assert block == expected
        assert encoder.table() == []

    def test_equal_fields_of_other_objects(self) -> None:
        encoder = HpackEncoder()
        full(encoder, [OWN])
        again = (bytes(bytearray(OWN[0])), bytes(bytearray(OWN[1])))
        assert again[0] is not OWN[0]
        assert encoder.block([again]) == indexed(62)

    def test_fields_that_differ_in_one_byte(self) -> None:
        """At each place of values of each size; the hash of a field covers all of it."""
        for size in range(1, 40):
            encoder = HpackEncoder()
            value = b"v" * size
            full(encoder, [(b"x", value)])
            for at in range(size):
                other = value[:at] + b"w" + value[at + 1 :]
                block = encoder.block([(b"x", other)])
                assert block != indexed(62)
                assert HpackDecoder().fields(b"\x40\x01x\x00" + block)[-1] == (b"x", other)


class TestTable:
    def test_eviction(self) -> None:
        """What the table holds is what a decoder of the same blocks holds, entry by entry, however often it turned."""
        encoder, decoder = HpackEncoder(), HpackDecoder()
        for number in range(600):
            fields = [(b"name-%d" % (number * step % 97), b"v" * (number * step % 150)) for step in (1, 3, 7)]
            for _ in range(2):
                assert decoder.fields(encoder.block(fields)) == fields
                assert decoder.table() == encoder.table()
                assert decoder.state()[:2] == encoder.state()[:2]

    @pytest.mark.parametrize("size", [2048, 2049])
    def test_large_fields(self, size: int) -> None:
        """What would take more than half of the table is not put there."""
        encoder = HpackEncoder()
        field = (b"x", b"v" * (size - 33))
        full(encoder, [field])
        assert encoder.table() == ([field] if size == 2048 else [])

    def test_as_many_entries_as_there_can_be(self) -> None:
        encoder, decoder = HpackEncoder(), HpackDecoder()
        for number in range(400):
            field = (b"%c" % (97 + number % 26), b"%c" % (97 + number // 26))
            for _ in range(2):
                assert decoder.fields(encoder.block([field])) == [field]
            assert encoder.state()[2] == max(16, min(128, 1 << number.bit_length()))
            assert encoder.table() == decoder.table()
        assert encoder.state()[0] == TABLE_SIZE // 34 * 34

    def test_one_name_with_many_values(self) -> None:
        """All in one bucket."""
        encoder, decoder = HpackEncoder(), HpackDecoder()
        fields = [(b"x", b"%d" % number) for number in range(40)]
        for _ in range(4):
            assert decoder.fields(encoder.block(fields)) == fields
        assert encoder.block(fields) == b"".join(map(indexed, range(101, 61, -1)))

    def test_no_reference_is_left(self) -> None:
        field = (bytes(bytearray(b"some-name")), bytes(bytearray(b"some value")))
        before = [sys.getrefcount(part) for part in field]
        encoder = HpackEncoder()
        full(encoder, [field])
        assert [sys.getrefcount(part) for part in field] == [count + 1 for count in before]
        encoder.resize(0)
        assert [sys.getrefcount(part) for part in field] == before
        encoder.resize(4096)
        full(encoder, [field])
        del encoder
        assert [sys.getrefcount(part) for part in field] == before


class TestSize:
    """Section 4.2."""

    def test_first_block(self) -> None:
        """Both sides begin with 4,096: there is nothing to tell."""
        for size in (4096, 4097, 65_536, 0xFFFFFFFF):
            encoder = HpackEncoder()
            encoder.resize(size)
            assert encoder.block([]) == b""
            assert encoder.state()[1] == 4096

    def test_smaller(self) -> None:
        encoder = HpackEncoder()
        full(encoder, [OWN, SERVER])  # 46 and 47 bytes
        assert encoder.state()[0] == 93
        encoder.resize(93)
        assert encoder.block([OWN]) == size_update(93) + indexed(63)
        encoder.resize(92)
        assert encoder.table() == [SERVER]
        assert encoder.block([SERVER]) == size_update(92) + indexed(62)
        assert encoder.block([SERVER]) == indexed(62)

    def test_none(self) -> None:
        encoder = HpackEncoder()
        encoder.resize(0)
        assert encoder.block([]) == size_update(0)
        for _ in range(3):
            assert encoder.block([SERVER]) == literal(54, SERVER[1], 0, huffman=True)
        assert encoder.state() == (0, 0, 0)

    def test_smaller_and_larger_again(self) -> None:
        """The smallest of an interval is told before the last."""
        encoder = HpackEncoder()
        full(encoder, [OWN])
        for size in (1000, 10, 500, 10_000):
            encoder.resize(size)
        assert encoder.table() == []
        assert encoder.block([]) == size_update(10) + size_update(4096)
        assert encoder.block([]) == b""

    def test_larger_than_before(self) -> None:
        encoder = HpackEncoder()
        encoder.resize(100)
        assert encoder.block([]) == size_update(100)
        encoder.resize(200)
        assert encoder.block([]) == size_update(200)
        encoder.resize(100)
        encoder.resize(200)
        assert encoder.block([]) == size_update(100) + size_update(200)

    def test_the_same_again(self) -> None:
        encoder = HpackEncoder()
        encoder.resize(100)
        assert encoder.block([]) == size_update(100)
        encoder.resize(100)
        assert encoder.block([]) == b""

    @pytest.mark.parametrize("size", range(0, 300, 7))
    def test_each_table_size(self, size: int) -> None:
        encoder, decoder = HpackEncoder(), HpackDecoder()
        encoder.resize(size)
        for number in range(60):
            fields = [(b"n%d" % (number // 2 % 5), b"v" * (number // 4)), DATE, SERVER]
            assert decoder.fields(encoder.block(fields)) == fields
            assert decoder.table() == encoder.table()
            assert encoder.state()[0] <= size
            assert decoder.state()[1] == size


def test_integers_of_all_sizes() -> None:
    for size in (0, 1, 125, 126, 127, 128, 253, 254, 255, 256, 16_510, 16_511, 60_000):
        value = b"\xff" * size
        block = HpackEncoder().block([(b"x", value)])
        assert block == b"\0\x01x" + integer(0, 7, size) + value
