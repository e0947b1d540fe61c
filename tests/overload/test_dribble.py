"""Clients that send a byte now and then: others do not notice, and what is begun must come within its time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from load import PATIENCE, LoadedServer
from overload import checks
from overload.crowd import Crowd

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_memory(tmp_path: Path) -> None:
    """The bytes come at once here and once a second in `python -m tests.overload`."""
    with LoadedServer(tmp_path / "log", *checks.PATIENT) as server:
        checks.check_dribble(server, 2000, 10, 0, print)


def test_a_head_byte_by_byte(tmp_path: Path) -> None:
    """All are told so (408) when the time is over, however busily they dribble."""
    with LoadedServer(tmp_path / "log", "--timeout-request-head", "0.5") as server, Crowd(server, 200) as crowd:
        crowd.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        began = time.monotonic()
        for data in crowd.dribble(b"x", PATIENCE):
            assert data.startswith(b"HTTP/1.1 408 "), data
        assert time.monotonic() - began > 0.4
        assert [line for line in server.text.splitlines() if not line.startswith("INFO:")] == []
