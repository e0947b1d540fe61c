"""Requests through the parser alone: bytes to events. A call makes a parser, feeds it, and lists the events."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.exchanges import EXCHANGES, Exchange
from fastserve._core.testing import parse
from fastserve.options.core import core_settings
from fastserve.options.table import Options

_NAMES = ("hello", "browser", "split-head", "pipelined", "post-1k", "post-64k", "post-chunked")


@pytest.mark.parametrize("exchange", [item for item in EXCHANGES if item.name in _NAMES], ids=lambda item: item.name)
def bench_parse(benchmark: BenchmarkFixture, exchange: Exchange) -> None:
    events = benchmark(parse, core_settings(Options("app")), exchange.reads)
    kinds = [event[0] for event in events]
    assert kinds.count("head") == exchange.answers
    assert "fault" not in kinds
