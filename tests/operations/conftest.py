from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import support
from operations.asking import Controlled

Start = Callable[..., Controlled]

# One of each kind, for every Python and every build; the others are slow.
EVERYWHERE = {"test_control_socket", "test_scale_and_replace", "test_stop", "test_log_level", "test_targets"}
EVERYWHERE |= {"test_every_verb_is_carried_out", "test_stale_socket_is_replaced", "test_passwords_in_urls"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            if sys.platform == "win32":
                item.add_marker(pytest.mark.skip(reason="UNIX sockets"))
            if getattr(item, "originalname", item.name) not in EVERYWHERE:
                item.add_marker(pytest.mark.slow)


@pytest.fixture
def controlled(command: support.StartCommand, tmp_path: Path) -> Start:
    """Start a command that serves metrics_app, with a control socket."""

    def start(
        *args: str,
        app: str = "metrics_app:app",
        line: str = "Application startup complete",
        folder: Path = tmp_path,
    ) -> Controlled:
        path = folder / "control"
        made = command(app, "--app-dir", support.APPS, "--port", "0", "--control-socket", str(path), *args)
        made.wait_line("Control socket at ")
        made.wait_line(line)
        return Controlled(made, path)

    return start
