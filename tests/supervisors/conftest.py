from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import support

# One of each kind, for every Python and every build; the others are slow.
EVERYWHERE = {
    "test_workers",
    "test_preload",
    "test_timeout_worker_healthcheck",
    "test_sigterm",
    "test_watchdog",
    "test_forked_children_can_be_terminated",
    "test_nobody_listens_while_requests_are_finished",
    "test_sighup",
    "test_reload",
    "test_interrupt_of_the_process_group",
    "test_workers_outlive_no_parent",
    "test_service_manager",
    "test_filter",
    "test_contradictions",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            if sys.platform == "win32":
                item.add_marker(pytest.mark.skip(reason="POSIX processes and signals"))
            if getattr(item, "originalname", item.name) not in EVERYWHERE:
                item.add_marker(pytest.mark.slow)


@pytest.fixture
def start(command: support.StartCommand) -> support.StartCommand:
    """Start a command that serves an application of process_apps.py on a free port: start("app", "--workers", "2")."""

    def run(app: str, *args: str, **options: Any) -> support.Command:
        where = ["--app-dir", support.APPS, "--log-level", "debug"]
        # For workers that a busy machine keeps from starting and from answering; the last one given counts.
        patient = ["--timeout-worker-healthcheck", "60"]
        return command(f"process_apps:{app}", *where, *patient, *args, **options)

    return run


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe that is read to its end by who opens it, once somebody opens and closes it for writing."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path
