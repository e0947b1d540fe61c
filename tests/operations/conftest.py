from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import support
from operations.asking import Controlled

Start = Callable[..., Controlled]


@pytest.fixture
def controlled(command: support.StartCommand, tmp_path: Path) -> Start:
    """Start a command that serves metrics_app, with a control socket."""

    def start(*args: str, app: str = "metrics_app:app", line: str = "Application startup complete") -> Controlled:
        path = tmp_path / "control"
        made = command(app, "--app-dir", support.APPS, "--port", "0", "--control-socket", str(path), *args)
        made.wait_line("Control socket at ")
        made.wait_line(line)
        return Controlled(made, path)

    return start
