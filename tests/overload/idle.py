"""Connections that are idle after a response: what each takes of memory, and whether others are served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from load import LoadedServer, until
from overload.crowd import HELLO, Crowd, assert_answers

MOST_BYTES = 6 * 1024  # of private memory for each


def check_idle(server: LoadedServer, count: int, say: Callable[[str], Any]) -> None:
    """Have so many connections idle on a server that has none; AssertionError for one that takes too much."""
    before = server.quiet_state()
    with Crowd(server, count) as crowd:
        crowd.send(HELLO)
        for data in crowd.read(60, lambda data: data.endswith(b"ok")):
            assert data.startswith(b"HTTP/1.1 200 ")
        state = server.state()
        assert state["live"]["connection"] == count + 1
        assert state["live"]["buffer"] <= 1, "an idle connection holds a buffer"
        each = (state["memory"] - before["memory"]) / count
        say(f"{count} idle connections: {each:.0f} bytes each")
        assert each < MOST_BYTES
        assert_answers(server)
    until(lambda: server.state()["live"]["connection"] == 1, "all are gone", 60)
