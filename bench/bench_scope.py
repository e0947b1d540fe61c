"""Request heads to ASGI scopes, the parse included: what is above the same row of bench_parse is the dict's price."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.exchanges import BROWSER, GET, head
from fastserve._core.http.scope import Peers
from fastserve._core.testing import scope_of
from fastserve.options.core import core_settings
from fastserve.options.table import Options

_ESCAPED = head().replace(b"GET / ", b"GET /caf%C3%A9/a%20b/list?page=2&sort=price ")
_HEADS = {"hello": (GET, "/"), "browser": (BROWSER, "/"), "escaped": (_ESCAPED, "/caf\u00e9/a b/list")}


@pytest.mark.parametrize("name", _HEADS)
def bench_scope(benchmark: BenchmarkFixture, name: str) -> None:
    request, path = _HEADS[name]
    peers = Peers(("127.0.0.1", 50000), ("127.0.0.1", 8000), "http")
    scope = benchmark(scope_of, core_settings(Options("app")), request, peers, {})
    assert scope is not None
    assert scope["path"] == path
