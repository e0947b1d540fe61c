"""Clients that send a byte now and then: others do not notice, and a head has to come within its time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from load import LoadedServer
from overload.crowd import Crowd, assert_answers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX: dribble"
SECONDS = 2


def test_heads_byte_by_byte(tmp_path: Path) -> None:
    """All of 2,000 are told so (408), however busily they dribble."""
    with LoadedServer(tmp_path / "log", "--timeout-request-head", str(SECONDS)) as server, Crowd(server, 2000) as crowd:
        before = server.state()["memory"]
        began = time.monotonic()
        for byte in HEAD:
            if time.monotonic() - began > SECONDS / 2:
                break  # a byte more might find the connection closed
            crowd.send(bytes([byte]))
            assert_answers(server)
        assert server.state()["memory"] - before < 2000 * 6 * 1024
        for data in crowd.read(SECONDS + 10, lambda data: False):
            assert data.startswith(b"HTTP/1.1 408 "), data
        assert time.monotonic() - began > SECONDS * 0.9
        assert_answers(server)
        lines = [line for line in server.text.splitlines() if not line.startswith("INFO:")]
        assert lines == []


def test_bodies_byte_by_byte(tmp_path: Path) -> None:
    """A byte of the body starts the time for the next one anew; without one the connection closes."""
    limits = ("--timeout-request-body", "1")
    with LoadedServer(tmp_path / "log", *limits) as server, Crowd(server, 300) as crowd:
        crowd.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
        began = time.monotonic()
        for _ in range(10):
            crowd.send(b"x")
            assert_answers(server)
        for data in crowd.read(20, lambda data: False):
            assert data == b""
        assert time.monotonic() - began > 0.9
        assert server.quiet_state()["asyncio_tasks"] >= 1
