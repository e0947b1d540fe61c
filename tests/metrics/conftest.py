from __future__ import annotations

from collections.abc import Callable

import pytest
import support
from metrics.scraping import Served

Serve = Callable[..., Served]


@pytest.fixture
def served(command: support.StartCommand) -> Serve:
    """Start a command that serves metrics_app and its metrics."""

    def start(*args: str, app: str = "app") -> Served:
        made = command(
            f"metrics_app:{app}", "--app-dir", support.APPS, "--port", "0", "--metrics-bind", "127.0.0.1:0", *args
        )
        return Served(made)

    return start
