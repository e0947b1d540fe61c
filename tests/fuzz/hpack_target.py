"""HPACK and the fields of requests: the package hpack as the judge, and the encoder as what has to be understood.

Input: one byte for limits and what is done, then header blocks, each after two bytes of its size, with a table size of
the peer's in the highest bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import hpack
from core.hpack import Fields, indexed, literal, size_update
from core.hpack_judge import hpack_decoder, may_have_long_integer, read_by_hpack, table_of
from fuzz.target import Target

from fastserve._core.testing import HpackDecoder, HpackEncoder, HpackRequest

LIMITS = ((0, 0), (65_536, 128), (200, 5), (400, 2))
SIZES = (None, 0, 33, 200)  # of the encoder's table
TABLE_SIZE = 4096
TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


def divided(data: bytes) -> Iterator[tuple[bytes, int | None]]:
    """Yield blocks, and the size that the encoder's table gets with each."""
    while data:
        head = int.from_bytes(data[:2], "big")
        size = head & 0xFFF
        yield data[2 : 2 + size], SIZES[head >> 14]
        data = data[2 + size :]


def check_table(decoder: HpackDecoder) -> None:
    table = decoder.table()
    size, most, places = decoder.state()
    assert size == sum(len(name) + len(value) + 32 for name, value in table) <= most <= TABLE_SIZE
    assert places in (0, 16, 32, 64, 128) and len(table) <= places


def check_request(request: HpackRequest, sent: Fields, limits: tuple[int, int]) -> None:
    """What is served is well formed, within the limits, and nothing but what came."""
    max_size, max_fields = limits
    if request.malformed is not None or request.over_limit:
        return
    headers = request.headers
    assert headers[0][0] == b"host" and headers[0][1]
    names = [name for name, _ in headers]
    assert names.count(b"host") == 1 and names.count(b"cookie") <= 1 and names.count(b"content-length") <= 1
    for name, value in headers:
        assert name and set(name) <= TOKEN
        assert all(byte == 9 or (byte >= 0x20 and byte != 0x7F) for byte in value)
        if name != b"cookie":  # which RFC 9113, 8.2.3 joins with "; ", empty pieces too
            assert value == value.strip(b" \t")
    assert not max_size or sum(len(name) + len(value) + 32 for name, value in sent) <= max_size
    assert not max_fields or len(headers) - (b"host" not in dict(sent)) <= max_fields
    rest = [field for field in sent if not field[0].startswith(b":") and field[0] not in (b"host", b"cookie")]
    assert [field for field in headers if field[0] not in (b"host", b"cookie")] == rest
    crumbs = [value for name, value in sent if name == b"cookie"]
    assert dict(headers).get(b"cookie") == (b"; ".join(crumbs) if crumbs else None)
    assert request.method
    if request.path is not None:
        assert request.path[:1] == b"/" or request.path == b"*"
    else:
        assert request.method == b"CONNECT" and request.protocol is None
    assert request.content_length == int(dict(rest).get(b"content-length", -1))


def check_encoder(encoder: HpackEncoder, peer: HpackDecoder, judge: hpack.Decoder, fields: Fields) -> None:
    """Each reader understands the block, and has the same table."""
    block = encoder.block(fields)
    assert peer.fields(block) == fields
    assert read_by_hpack(judge, block) == fields
    assert peer.table() == encoder.table() == table_of(judge)


def check(data: bytes) -> None:
    mode = data[0] if data else 0
    limits = LIMITS[mode % len(LIMITS)]
    decoder, again, theirs = HpackDecoder(), HpackDecoder(), hpack_decoder()
    encoder, peer, judge = HpackEncoder(), HpackDecoder(), hpack_decoder()
    request = HpackRequest()
    bounded = True
    for block, size in divided(data[1:]):
        fields: Fields | None = None
        expected: Fields | None = None
        with contextlib.suppress(ValueError):
            fields = decoder.fields(block)
        check_table(decoder)
        bounded = bounded and not may_have_long_integer(block)
        with contextlib.suppress(hpack.HPACKError):
            expected = read_by_hpack(theirs, block)
        assert expected == fields or (fields is None and not bounded), f"hpack: {expected}, here: {fields}"
        if fields is None:
            return
        assert decoder.table() == table_of(theirs)
        again.request(block, *limits, request)
        assert again.table() == decoder.table()
        check_request(request, fields, limits)
        if size is not None:
            encoder.resize(size)
            if mode & 4:
                encoder.resize(TABLE_SIZE)
        for _ in range(2):
            check_encoder(encoder, peer, judge, fields)


def seeds() -> Iterator[bytes]:
    request = b"".join(map(indexed, (2, 4, 7))) + literal(1, b"example.com")
    fields = [
        (b"accept", b"*/*"), (b"cookie", b"a=b"), (b"cookie", b"c=d"), (b"te", b"trailers"), (b"content-length", b"5"),
        (b"host", b"example.com"), (b"x-own", b"z" * 200), (b"expect", b"100-continue"), (b"connection", b"close"),
    ]  # fmt: skip
    blocks = [
        request,
        b"".join(map(indexed, (2, 62, 7, 4))),
        request + indexed(62),
        size_update(0) + size_update(4096) + request,
        size_update(100) + request + literal(b"x", b"y" * 80) + indexed(62),
        size_update(4097),
        request + b"".join(literal(*field) for field in fields),
        request + b"".join(literal(*field, 0x10, True) for field in fields),
        *(request + literal(*field, pattern, True) for field in fields for pattern in (0, 0x40)),
        bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"),
        bytes.fromhex("8287854183f1e3c77a88a47e561cc58190b6cb803f"),
        indexed(2) + literal(b":protocol", b"websocket") + indexed(7) + indexed(4) + literal(1, b"a"),
    ]
    for number, block in enumerate(blocks):
        one = len(block).to_bytes(2, "big") + block
        other = (len(block) | (number % 4) << 14).to_bytes(2, "big") + block
        yield bytes([number % 8]) + one + other + one


WORDS = (
    b"\x82\x84\x87", b"\x41\x01a", b"\x3f\xe1\x1f", b"\x20", b"\xbe", b"\xbf", b"\x40", b"\x00", b"\x10", b"\xff\x00",
    b"\x7f\x00", b"\x0f\x0d", b"\x01:", b"\x09:protocol", b"\x06cookie", b"\x04host", b"\x02te\x08trailers",
    b"\x0econtent-length", b"\x0aconnection", b"\x83\xf1\xe3\xc7", b"\x84\xff\xff\xff\xff", b"\x00\x10", b"\x40\x05",
)  # fmt: skip

TARGET = Target("hpack", check, seeds, WORDS)
