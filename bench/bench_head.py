"""Response heads: status and headers to bytes, with the framing, date and server that the core adds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.load.apps import EXTRA_HEADERS
from fastserve._core.loop.clock import Clock
from fastserve._core.testing import encode_head
from fastserve.options.core import core_settings
from fastserve.options.table import Options

_PLAIN = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"13")]
_HEADS = {"plain": _PLAIN, "twenty": _PLAIN + EXTRA_HEADERS, "no-length": _PLAIN[:1]}


@pytest.fixture
def clock() -> Iterator[Clock]:
    loop = asyncio.new_event_loop()
    clock = Clock(loop, core_settings(Options("app")))
    yield clock
    clock.close()
    loop.close()


@pytest.mark.parametrize("name", _HEADS)
def bench_head(benchmark: BenchmarkFixture, clock: Clock, name: str) -> None:
    headers = _HEADS[name]
    chunked = name == "no-length"
    head = benchmark(encode_head, core_settings(Options("app")), clock, 200, headers, None, chunked)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n")
