"""Memory is bounded whatever the clients leave undone, and others are answered meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from load import LoadedServer
from overload.crowd import HELLO, Crowd, assert_answers, settled
from overload.idle import check_idle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

KIB = 1024
CLIENTS = 50


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoadedServer]:
    # The graceful stop would wait for the applications that are stuck.
    options = ("--timeout-keep-alive", "60", "--timeout-graceful-shutdown", "0.1")
    with LoadedServer(tmp_path / "log", *options) as started:
        started.state()  # what the first request takes is not of those that follow
        yield started


def test_clients_that_do_not_read(server: LoadedServer) -> None:
    """An application that sends without an end waits in send(), with a piece or so in the server for each client."""
    before = server.state()["memory"]
    with Crowd(server, CLIENTS) as crowd:
        crowd.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        settled(server, lambda: int(server.state()["sends"]["done"]), "send() waits")
        state = server.state()
        assert state["sends"]["waiting"] == CLIENTS
        assert state["memory"] - before < CLIENTS * 192 * KIB
        assert_answers(server)
        # One that reads again is sent more.
        first = crowd.sockets[0]
        first.settimeout(5)
        left = 8 << 20
        while left > 0:
            chunk = first.recv(1 << 20)
            assert chunk
            left -= len(chunk)
    assert server.quiet_state()["sends"]["waiting"] == 0


def test_uploads_that_the_application_does_not_read(server: LoadedServer) -> None:
    before = server.state()["memory"]
    with Crowd(server, CLIENTS) as crowd:
        sent = crowd.pour(b"POST /stuck HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        assert min(sent) > 64 * KIB
        assert server.state()["memory"] - before < CLIENTS * 768 * KIB
        assert_answers(server)


def test_requests_behind_one_that_is_not_answered(server: LoadedServer) -> None:
    """Pipelined requests wait in the kernel, but for a few."""
    before = server.state()["memory"]
    with Crowd(server, CLIENTS) as crowd:
        sent = crowd.pour(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        assert min(sent) > 64 * KIB
        assert server.state()["memory"] - before < CLIENTS * 768 * KIB
        assert_answers(server)


def test_heads_that_do_not_end(server: LoadedServer) -> None:
    before = server.state()["memory"]
    with Crowd(server, 200) as crowd:
        crowd.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 60000)
        assert_answers(server)
        assert server.state()["memory"] - before < 200 * 160 * KIB


def test_responses_that_nobody_reads(server: LoadedServer) -> None:
    """Answers to many pipelined requests are made only as far as they are read."""
    before = server.state()["memory"]
    request = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
    with Crowd(server, CLIENTS) as crowd:
        crowd.send(request * 100)
        settled(server, lambda: int(server.state()["memory"] - before) // (1 << 20), "memory does not change")
        assert server.state()["memory"] - before < CLIENTS * 768 * KIB
        assert_answers(server)


def test_idle_connections(server: LoadedServer) -> None:
    """`python -m tests.overload --connections 10000` is the same with more."""
    check_idle(server, 1000, print)


def test_idle_connections_are_usable(server: LoadedServer) -> None:
    with Crowd(server, 100) as crowd:
        for _ in range(3):
            crowd.send(HELLO)
            for data in crowd.read(10, lambda data: data.endswith(b"ok")):
                assert data.startswith(b"HTTP/1.1 200 ")
