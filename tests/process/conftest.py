from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import support


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.platform == "win32":
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="POSIX processes and signals"))


@pytest.fixture
def start(command: support.StartCommand) -> support.StartCommand:
    """Start a command that serves an application of process_apps.py on a free port: start("app", "--workers", "2")."""

    def run(app: str, *args: str, **options: Any) -> support.Command:
        where = ["--app-dir", str(Path(__file__).parent), "--log-level", "debug"]
        return command(f"process_apps:{app}", *where, *args, **options)

    return run


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe that is read to its end by who opens it, once somebody opens and closes it for writing."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path
