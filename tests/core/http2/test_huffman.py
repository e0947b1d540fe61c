"""HPACK's Huffman code (RFC 7541 section 5.2 and appendix B)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fastserve._core.http2 import tables
from fastserve._core.testing import huffman_coded, huffman_decoded

CODES = tables.codes()
END_CODE = "1" * 30


def packed(bits: str) -> bytes:
    """Return bits as bytes, padded with ones."""
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def bits_of(data: bytes) -> str:
    return "".join(f"{code:0{size}b}" for code, size in (CODES[byte] for byte in data))


@pytest.mark.tree
def test_the_header_is_what_the_tables_make() -> None:
    """The generated file; `python -m fastserve._core.http2.tables FILE` writes it."""
    path = Path(__file__).parents[3] / "src/fastserve/_core/http2/huffman.h"
    assert path.read_text("utf-8") == tables.header()


def test_lengths_that_make_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.LENGTHS, 5, b"012aceios")
    with pytest.raises(ValueError, match="complete code"):
        tables.codes()


@pytest.mark.parametrize(
    ("text", "coded"),
    [  # appendix C.4 and C.6
        (b"www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
        (b"no-cache", "a8eb10649cbf"),
        (b"custom-value", "25a849e95bb8e8b4bf"),
        (b"302", "6402"),
        (b"private", "aec3771a4b"),
        (b"Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
        (b"https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
        (b"307", "640eff"),
        (b"gzip", "9bd9ab"),
        (
            b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ),
        (b"", ""),
    ],
)
def test_examples(text: bytes, coded: str) -> None:
    assert huffman_coded(text) == bytes.fromhex(coded)
    assert huffman_decoded(bytes.fromhex(coded)) == text


@pytest.mark.parametrize("byte", range(256))
def test_each_symbol_at_each_place(byte: int) -> None:
    """In each place among the bits of a read, and at each distance from the end."""
    for before in range(20):
        for after in range(12):
            text = b"0" * before + bytes([byte]) + b"&" * after
            coded = packed(bits_of(text))
            assert huffman_coded(text) == coded
            assert huffman_decoded(coded) == text


def test_any_text() -> None:
    source = random.Random(1)
    for _ in range(2000):
        kind = source.choice([b"abc019 /-", bytes(range(128)), bytes(range(256))])
        text = bytes(source.choices(kind, k=source.randrange(100)))
        assert huffman_coded(text) == packed(bits_of(text))
        assert huffman_decoded(huffman_coded(text)) == text


@pytest.mark.parametrize("before", [b"", b"a" * 7, b"&" * 7, b"&" * 8, b"abc" * 50])
def test_padding(before: bytes) -> None:
    """Less than a byte, of ones (the beginning of the code that ends a string)."""
    bits = bits_of(before)
    short = -len(bits) % 8
    for more in range(2):
        coded = packed(bits + "1" * (short + 8 * more))
        assert huffman_decoded(coded) == (None if more else before)
    for wrong in range(1, 1 << short):
        ending = f"{(1 << short) - 1 ^ wrong:0{short}b}"
        decoded = huffman_decoded(packed(bits + ending))
        assert decoded is None or (decoded.startswith(before) and len(decoded) > len(before))


@pytest.mark.parametrize("place", range(20))
def test_the_end_symbol_is_an_error(place: int) -> None:
    assert huffman_decoded(packed("00000" * place + END_CODE)) is None
    assert huffman_decoded(packed("00000" * place + END_CODE + bits_of(b"www.example.com"))) is None


def test_a_code_that_is_cut() -> None:
    """Not even where what is there of it are ones."""
    for byte in range(256):
        code, size = CODES[byte]
        bits = f"{code:0{size}b}"
        for kept in range(8, size):
            if kept % 8 == 0:
                decoded = huffman_decoded(packed(bits[:kept]))
                assert decoded is None or len(huffman_coded(decoded)) == kept // 8
