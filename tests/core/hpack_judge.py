"""The package hpack as the judge of what header blocks mean, and where it may differ."""

from __future__ import annotations

from typing import Any

import hpack
from core.hpack import Fields

TABLE_SIZE = 4096


def hpack_decoder() -> hpack.Decoder:
    decoder = hpack.Decoder(max_header_list_size=1 << 24)
    decoder.max_allowed_table_size = TABLE_SIZE
    return decoder


def read_by_hpack(decoder: hpack.Decoder, block: bytes) -> Fields:
    """Return fields as pairs. Raises hpack.HPACKError."""
    return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]


def table_of(codec: Any) -> Fields:
    """Return the dynamic table of an encoder or a decoder, the newest entry first."""
    return [(bytes(name), bytes(value)) for name, value in codec.header_table.dynamic_entries]


def may_have_long_integer(block: bytes) -> bool:
    """Return whether there may be an integer of more bytes than we read, which hpack does not bound."""
    return any(all(byte >= 0x80 for byte in block[at : at + 4]) for at in range(len(block) - 3))
