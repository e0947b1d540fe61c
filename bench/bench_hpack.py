"""Header blocks: a browser's request decoded into the list of the scope, responses encoded. A call does a thousand."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.load.rows import BROWSER_HEADERS
from fastserve._core.testing import HpackDecoder, HpackEncoder, HpackRequest, huffman_coded

_TIMES = 1000
_REQUEST = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"127.0.0.1:8000"),
    (b":path", b"/some/path?query=1"),
    *((name.lower().encode(), value.encode()) for name, value in BROWSER_HEADERS if name.lower() != "connection"),
]
_RESPONSE = [
    (b":status", b"200"),
    (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    (b"server", b"fastserve"),
    (b"content-type", b"text/plain; charset=utf-8"),
    *((b"x-header-name-%d" % number, b"value of header %d" % number) for number in range(19)),
]


def _string(text: bytes, huffman: bool) -> bytes:
    coded = huffman_coded(text) if huffman else text
    assert len(coded) < 127 + 128
    size = bytes([len(coded)]) if len(coded) < 127 else bytes([127, len(coded) - 127])
    return bytes([size[0] | 0x80 * huffman]) + size[1:] + coded


def _block(kind: str) -> bytes:
    first = {"huffman": b"\0", "raw": b"\0", "indexing": b"\x40"}[kind]
    return b"".join(first + _string(name, kind != "raw") + _string(value, kind != "raw") for name, value in _REQUEST)


@pytest.mark.parametrize("kind", ["indexed", "huffman", "raw"])
def bench_decode(benchmark: BenchmarkFixture, kind: str) -> None:
    decoder, request = HpackDecoder(), HpackRequest()
    decoder.request(_block("indexing"), into=request)
    block = bytes(0x80 | 61 + len(_REQUEST) - number for number in range(len(_REQUEST)))
    if kind != "indexed":
        block = _block(kind)
    assert decoder.request(block, into=request).malformed is None
    assert len(request.headers) == len(_REQUEST) - 3
    benchmark(decoder.repeat, block, _TIMES, request)


@pytest.mark.parametrize("count", [4, 23])
def bench_encode(benchmark: BenchmarkFixture, count: int) -> None:
    encoder = HpackEncoder()
    encoder.repeat(_RESPONSE[:count], 3)
    assert len(encoder.block(_RESPONSE[:count])) == count
    benchmark(encoder.repeat, _RESPONSE[:count], _TIMES)
