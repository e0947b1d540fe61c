"""Memory is bounded whatever the clients leave undone; `python -m tests.overload` is the same with more of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from load import PATIENCE, LoadedServer
from overload import checks
from overload.crowd import HELLO, Crowd

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

CLIENTS = 50


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoadedServer]:
    with LoadedServer(tmp_path / "log", *checks.PATIENT) as started:
        yield started


def test_clients_that_do_not_read(server: LoadedServer) -> None:
    checks.check_readers(server, CLIENTS, print)


def test_uploads_that_the_application_does_not_read(server: LoadedServer) -> None:
    checks.check_uploads(server, CLIENTS, print)


def test_requests_behind_one_that_is_not_answered(server: LoadedServer) -> None:
    checks.check_pipelines(server, CLIENTS, print)


def test_responses_that_nobody_reads(server: LoadedServer) -> None:
    checks.check_unread_pipelines(server, CLIENTS, print)


def test_heads_that_do_not_end(server: LoadedServer) -> None:
    before = checks.quiet_memory(server)
    with Crowd(server, 200) as crowd:
        crowd.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 60000)
        checks.check_memory(server, 200, before, 160 * checks.KIB, "heads that do not end", print)


def test_idle_connections(server: LoadedServer) -> None:
    checks.check_idle(server, 1000, print)


def test_idle_connections_are_usable(server: LoadedServer) -> None:
    with Crowd(server, 100) as crowd:
        for _ in range(3):
            crowd.send(HELLO)
            for data in crowd.read(PATIENCE, lambda data: data.endswith(b"ok")):
                assert data.startswith(b"HTTP/1.1 200 ")
