"""The same fields through this codec, the package hpack and nghttp2 (by the package ngh2), in both directions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from core.hpack import Fields

from fastserve._core.testing import HpackDecoder, HpackEncoder, huffman_coded, huffman_decoded

hypothesis = pytest.importorskip("hypothesis")
hpack: Any = pytest.importorskip("hpack")
ngh2: Any = pytest.importorskip("ngh2")
from core.hpack_judge import hpack_decoder, may_have_long_integer, read_by_hpack, table_of  # noqa: E402

st = hypothesis.strategies
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
composite: Callable[..., Any] = st.composite
given: Callable[..., Decorator] = hypothesis.given
bounded: Decorator = hypothesis.settings(
    max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)

TABLE_SIZE = 4096
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, CONTINUATION = 1, 4, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HEADER_TABLE_SIZE = 1

token = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12).map(str.encode)
names = st.one_of(
    st.sampled_from(
        [b"date", b"server", b"content-type", b"cache-control", b"set-cookie", b"x-frame-options", b"etag"]
    ),
    token.map(lambda name: b"x-" + name),
)
values = st.one_of(
    st.sampled_from([b"", b"text/html; charset=utf-8", b"no-cache", b"0", b"x" * 500]),
    st.text("abcdefghijklmnopqrstuvwxyzABCDEFXYZ0123456789 ,;=/\\^{}<>~|", max_size=40).map(
        lambda text: text.strip().encode()
    ),
    st.binary(max_size=30).map(lambda data: bytes(byte | 0x80 for byte in data)),
)
blocks = st.lists(st.lists(st.tuples(names, values), max_size=12), min_size=1, max_size=8)
sizes = st.one_of(st.just(None), st.integers(0, 300), st.sampled_from([0, 31, 32, 64, 1000, 4095, 4096, 4097, 65_536]))
anything = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=60)), max_size=8)


@bounded
@given(st.binary(max_size=60))
def test_huffman_of_any_bytes(data: bytes) -> None:
    """What is decoded, and what is refused; and every text comes back."""
    try:
        expected = hpack.huffman_table.decode_huffman(data)
    except hpack.HPACKDecodingError:
        expected = None
    assert huffman_decoded(data) == expected
    assert huffman_decoded(huffman_coded(data)) == data


@bounded
@given(st.lists(st.tuples(anything, sizes, st.booleans()), min_size=1, max_size=10))
def test_hpack_reads_what_we_write(rounds: list[tuple[Fields, int | None, bool]]) -> None:
    """With the table's size changing between blocks, once or twice."""
    encoder, decoder = HpackEncoder(), hpack_decoder()
    for fields, size, twice in rounds:
        if size is not None:
            encoder.resize(size)
            if twice:
                encoder.resize(TABLE_SIZE)
        for _ in range(3):
            assert read_by_hpack(decoder, encoder.block(fields)) == fields
            assert table_of(decoder) == encoder.table()


@bounded
@given(st.lists(st.tuples(anything, sizes, st.booleans()), min_size=1, max_size=10), st.booleans())
def test_we_read_what_hpack_writes(rounds: list[tuple[Fields, int | None, bool]], huffman: bool) -> None:
    encoder, decoder = hpack.Encoder(), HpackDecoder()
    for fields, size, sensitive in rounds:
        if size is not None:
            encoder.header_table_size = min(size, TABLE_SIZE)
        for _ in range(2):
            made = [(*field, sensitive and not number % 3) for number, field in enumerate(fields)]
            assert decoder.fields(encoder.encode(made, huffman=huffman)) == fields
            assert decoder.table() == table_of(encoder)
            assert decoder.state()[1] == encoder.header_table.maxsize


@bounded
@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_we_refuse_what_hpack_refuses(pieces: list[bytes], data: Any) -> None:
    """Any bytes, and valid blocks of which a byte is another: the same fields and table, or an error of both."""
    encoder, ours, theirs = HpackEncoder(), HpackDecoder(), hpack_decoder()
    for piece in pieces:
        block = piece
        if data.draw(st.booleans()):
            good = encoder.block([(b"some-name", piece), (b"date", b"now"), (b"x", b"y")])
            place = data.draw(st.integers(0, len(good) - 1))
            block = good[:place] + bytes([data.draw(st.integers(0, 255))]) + good[place + 1 :]
        if may_have_long_integer(block):
            return
        expected: Fields | None = None
        found: Fields | None = None
        with contextlib.suppress(hpack.HPACKError):
            expected = read_by_hpack(theirs, block)
        with contextlib.suppress(ValueError):
            found = ours.fields(block)
        assert found == expected
        if found is None:
            return
        assert ours.table() == table_of(theirs)


class Peer:
    """nghttp2's session as a client or a server, with what is needed of frames to take header blocks out of it."""

    def __init__(self, role: Any, table_size: int = TABLE_SIZE) -> None:
        config = ngh2.Configuration(max_deflate_dynamic_table_size=table_size, max_inbound_header_count=10_000)
        self.session = ngh2.Connection(role, config)
        self.session.initiate_connection()
        self.blocks()
        self.receive(SETTINGS, 0, 0, b"")
        self.receive(SETTINGS, ACK, 0, b"")
        self.blocks()

    def blocks(self) -> list[bytes]:
        """Return the header blocks that it has to send, and drop all else."""
        data = self.session.data_to_send().removeprefix(PREFACE)
        found: list[bytes] = []
        while data:
            size, kind = int.from_bytes(data[:3], "big"), data[3]
            payload, data = data[9 : 9 + size], data[9 + size :]
            if kind == HEADERS:
                found.append(payload)
            elif kind == CONTINUATION:
                found[-1] += payload
        return found

    def receive(self, kind: int, flags: int, stream: int, payload: bytes) -> list[Any]:
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
        self.session.receive_data(head + payload)
        events: list[Any] = self.session.events()
        return events

    def settings(self, size: int) -> None:
        """The other side says how large a table it has for what this one sends."""
        self.receive(SETTINGS, 0, 0, HEADER_TABLE_SIZE.to_bytes(2, "big") + size.to_bytes(4, "big"))


GET: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.com"), (b":path", b"/")]


@bounded
@given(blocks, st.lists(sizes, min_size=8, max_size=8), st.sampled_from([0, 100, TABLE_SIZE]))
def test_we_read_what_nghttp2_writes(lists: list[Fields], changes: list[int | None], table_size: int) -> None:
    """Requests, with our setting changing in between, which may be but up to what we announce."""
    client, decoder = Peer(ngh2.Role.CLIENT, table_size), HpackDecoder()
    for fields, size in zip(lists, changes, strict=False):
        if size is not None:
            client.settings(min(size, TABLE_SIZE))
        sent = [*GET, *fields]
        for _ in range(2):
            client.session.send_request([*sent[:-1], ngh2.NeverIndexedHeader(*sent[-1])], end_stream=True)
            [block] = client.blocks()
            assert decoder.fields(block) == sent


@bounded
@given(blocks, st.lists(sizes, min_size=8, max_size=8))
def test_nghttp2_reads_what_we_write(lists: list[Fields], changes: list[int | None]) -> None:
    """Responses, with its setting changing in between."""
    client, encoder = Peer(ngh2.Role.CLIENT), HpackEncoder()
    for fields, size in zip(lists, changes, strict=False):
        if size is not None:
            client.session.update_settings({HEADER_TABLE_SIZE: size})
            client.session.data_to_send()
            client.receive(SETTINGS, ACK, 0, b"")
            encoder.resize(size)
        for _ in range(3):
            stream = client.session.send_request(GET, end_stream=True)
            client.blocks()
            sent = [(b":status", b"200"), *fields]
            events = client.receive(HEADERS, END_STREAM | END_HEADERS, stream, encoder.block(sent))
            responses = [event for event in events if type(event) is ngh2.ResponseReceived]
            assert [list(event.headers) for event in responses] == [sent], events
