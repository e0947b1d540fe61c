"""The check of texts in pieces, held against Python's decoder."""

from __future__ import annotations

import itertools

import pytest

from fastserve._core.testing import first_invalid

# One byte of each class that RFC 3629 tells apart, and the bounds of each.
EDGES = bytes.fromhex("00 41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 f8 fe ff")


def first_bad_byte(data: bytes) -> int | None:
    """The first byte with which nothing that follows can make a text; len(data) for a sequence that is not complete."""
    reason = ""
    for at in range(len(data)):
        reason = ""
        try:
            data[: at + 1].decode()
        except UnicodeDecodeError as error:
            reason = error.reason
        if reason not in ("", "unexpected end of data"):
            return at
    return len(data) if reason else None


def is_text(data: bytes) -> bool:
    return first_bad_byte(data) is None


def single(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_every_sequence_of_edges_fails_at_the_same_byte(length: int) -> None:
    for sequence in itertools.product(EDGES, repeat=length):
        data = bytes(sequence)
        assert first_invalid(single(data)) == first_bad_byte(data), data
        assert first_invalid([data + b"whole words"]) == (None if is_text(data + b"w") else 0), data


def test_four_bytes() -> None:
    for sequence in itertools.product(b"\xef\xf0\xf1\xf3\xf4\xf5", EDGES, b"\x7f\x80\xbf\xc0", b"\x7f\x80\xbf\xc0"):
        data = bytes(sequence)
        assert first_invalid(single(data)) == first_bad_byte(data), data
        assert first_invalid([data + b"whole words"]) == (None if is_text(data + b"w") else 0), data


def test_every_code_point() -> None:
    everything = "".join(map(chr, itertools.chain(range(0xD800), range(0xE000, 0x110000)))).encode()
    assert first_invalid([everything]) is None
    assert first_invalid(everything[at : at + 7] for at in range(0, len(everything), 7)) is None


@pytest.mark.parametrize("bad", [b"\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff", b"\xe2\x82"])
def test_bad_bytes_are_found_wherever_they_are(bad: bytes) -> None:
    for before in range(20):
        for after in range(20):
            data = b"a" * before + bad + b"a" * after
            assert first_invalid([data]) == (0 if after or bad != b"\xe2\x82" else 1)
            assert first_invalid(single(data)) == first_bad_byte(data)


def test_it_fails_in_the_piece_with_the_first_bad_byte() -> None:
    assert first_invalid([b"a\xe2", b"\x82", b"\xac\xed", b"\xa0", b"\x80"]) == 3
    assert first_invalid([b"a\xe2", b"", b"\x82"]) == 3
    assert first_invalid([]) is None
