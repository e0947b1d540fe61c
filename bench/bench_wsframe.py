"""WebSocket messages through the codec alone: a client's frames to messages, and messages to a server's frames."""

from __future__ import annotations

import itertools
import random
import zlib

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastserve._core import testing as wsframe
from fastserve._core.testing import Deflater, FrameReader, Inflater

_KEY = b"\x37\xfa\x21\x3d"
_READ = 65536  # bytes that a socket gives at once
_SIZES = {"128": 128, "16k": 16384, "1m": 1 << 20}
_TEXT, _BINARY = 1, 2
_FIN, _RSV1 = 0x80, 0x40
_WORDS = ("id", "user", "anna", "text", "hello there", "how are you", "true", "null", "2026-01-01", "amount")


def _masked(first: int, payload: bytes) -> bytes:
    size = len(payload)
    head = bytes([first])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += b"\xfe" + size.to_bytes(2, "big")
    else:
        head += b"\xff" + size.to_bytes(8, "big")
    key = int.from_bytes((_KEY * (size // 4 + 1))[:size], "big")
    return head + _KEY + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def _json(size: int) -> bytes:
    source = random.Random(size)
    parts = (f'"{source.choice(_WORDS)}":{source.randrange(10**6)},' for _ in itertools.count())
    text = ""
    while len(text) < size:
        text += next(parts)
    return text[:size].encode()


def _reads(data: bytes) -> list[bytes]:
    return [data[at : at + _READ] for at in range(0, len(data), _READ)]


def _feed(reader: FrameReader, reads: list[bytes]) -> int:
    return sum(len(reader.feed(data)) for data in reads)


@pytest.mark.parametrize("kind", ["binary", "ascii", "utf-8"])
@pytest.mark.parametrize("size", _SIZES.values(), ids=_SIZES)
def bench_read(benchmark: BenchmarkFixture, size: int, kind: str) -> None:
    payload = {"binary": bytes(size), "ascii": b"x" * size, "utf-8": "é".encode() * (size // 2)}[kind]
    reads = _reads(_masked(_FIN | (_BINARY if kind == "binary" else _TEXT), payload))
    assert benchmark(_feed, FrameReader(1 << 24, 1000), reads) == 1


def bench_read_many_at_once(benchmark: BenchmarkFixture) -> None:
    data = _masked(_FIN | _TEXT, b"x" * 128) * 16
    assert benchmark(_feed, FrameReader(1 << 24, 1000), [data]) == 16


@pytest.mark.parametrize("size", _SIZES.values(), ids=_SIZES)
def bench_write(benchmark: BenchmarkFixture, size: int) -> None:
    assert len(benchmark(wsframe.frame, _BINARY, bytes(size))) > size


@pytest.mark.parametrize("size", _SIZES.values(), ids=_SIZES)
def bench_inflate(benchmark: BenchmarkFixture, size: int) -> None:
    stream = zlib.compressobj(wbits=-12)
    payload = (stream.compress(_json(size)) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    reads = _reads(_masked(_FIN | _RSV1 | _TEXT, payload))
    assert benchmark(_feed, FrameReader(1 << 24, 1000, Inflater(12, True)), reads) == 1


@pytest.mark.parametrize("takeover", [True, False], ids=["takeover", "alone"])
@pytest.mark.parametrize("size", {**_SIZES, "128": 256}.values(), ids=["256", "16k", "1m"])
def bench_deflate(benchmark: BenchmarkFixture, size: int, takeover: bool) -> None:
    data = benchmark(wsframe.message, _TEXT, _json(size), Deflater(12, takeover))
    assert len(data) < size and data[0] & _RSV1
