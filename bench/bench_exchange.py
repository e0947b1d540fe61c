"""Whole exchanges on transports that are not sockets. A call is 100 exchanges: divide the figures by 100."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.exchanges import EXCHANGES, Exchange
from bench.harness import Harness

_CALL = 100


@pytest.mark.parametrize("connections", [1, 100])
@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def bench_exchange(benchmark: BenchmarkFixture, exchange: Exchange, connections: int) -> None:
    with Harness(exchange, connections) as harness:
        benchmark(harness.run, _CALL // connections)
        assert harness.pending == 0
