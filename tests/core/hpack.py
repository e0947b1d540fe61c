"""What header blocks are made of (RFC 7541 sections 5 and 6)."""

from __future__ import annotations

from fastserve._core.testing import huffman_coded

Fields = list[tuple[bytes, bytes]]


def integer(pattern: int, prefix: int, value: int) -> bytes:
    """Return an integer of section 5.1, whose first byte also has the bits of `pattern`."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([pattern | value])
    value -= most
    out = [pattern | most]
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def string(text: bytes, huffman: bool = False) -> bytes:
    coded = huffman_coded(text) if huffman else text
    return integer(0x80 if huffman else 0, 7, len(coded)) + coded


def literal(name: bytes | int, value: bytes, pattern: int = 0x40, huffman: bool = False) -> bytes:
    """Return a literal with that name or name index: indexed (0x40), not indexed (0) or never indexed (0x10)."""
    index = name if isinstance(name, int) else 0
    named = string(name, huffman) if isinstance(name, bytes) else b""
    return integer(pattern, 6 if pattern == 0x40 else 4, index) + named + string(value, huffman)


def indexed(index: int) -> bytes:
    return integer(0x80, 7, index)


def size_update(size: int) -> bytes:
    return integer(0x20, 5, size)


def entry(size: int, name: bytes = b"x") -> tuple[bytes, bytes]:
    """Return a field that takes so many bytes of a table."""
    return name, b"v" * (size - 32 - len(name))
