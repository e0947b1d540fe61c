from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import support

LOGGERS = ("", "fastserve", "fastserve.error", "fastserve.access", "fastserve.asgi", "uvicorn", "uvicorn.access")


@pytest.fixture(autouse=True)
def fresh_loggers() -> Iterator[None]:
    """Give a test the server's loggers as a fresh process has them, and undo what it does to loggers."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(each.level, each.propagate, each.disabled, list(each.handlers), list(each.filters)) for each in loggers]
    for logger in loggers[1:]:
        logger.setLevel(logging.NOTSET)
        logger.propagate, logger.disabled, logger.handlers, logger.filters = True, False, [], []
    yield
    for logger, (level, propagate, disabled, handlers, filters) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate, logger.disabled, logger.handlers, logger.filters = propagate, disabled, handlers, filters


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that gives the server's log lines so far, as "LEVEL message"."""
    caplog.set_level(logging.DEBUG, logger="fastserve")

    def lines() -> list[str]:
        return [f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name[:4] == "fast"]

    return lines


@pytest.fixture
def start(command: support.StartCommand) -> support.StartCommand:
    """Start a command that serves an application of shell_apps.py on a free port: start("app", "--log-level", "x")."""

    def run(app: str, *args: str, **options: Any) -> support.Command:
        where = ["--app-dir", str(Path(__file__).parent)]
        return command(f"shell_apps:{app}", "--port", "0", *where, *args, **options)

    return run
