"""The soak in short; `python -m tests.leaks` is the long one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from leaks import check

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_nothing_is_left_of_many_mixed_requests(tmp_path: Path) -> None:
    check.check(tmp_path / "log", requests=6000, seed=20, points=4)


@pytest.mark.parametrize(
    "line",
    [
        "ERROR:    Exception in connection",
        "RuntimeError: x",
        "Task was destroyed but it is pending!",
        "ERROR:    ASGI callable returned without completing response.",
    ],
)
def test_what_else_the_server_says_is_noticed(line: str) -> None:
    fine = "WARNING:  Invalid HTTP request received.\nload_app.Planned: x\n  File x\n"
    check.check_log(fine)
    with pytest.raises(check.Leak, match="lines that it should not have"):
        check.check_log(fine + line)
