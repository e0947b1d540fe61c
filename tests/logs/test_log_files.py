"""Opening log files again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from fastserve.logging import log_files


class Once(logging.FileHandler):
    """A handler that can open its file once only."""

    opened = False

    def _open(self) -> Any:
        if self.opened:
            raise ValueError("once only")
        self.opened = True
        return super()._open()


def test_a_handler_that_fails_keeps_its_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the next one is opened all the same: what calls reopen() serves on."""
    logger = logging.getLogger("tests.log_files")
    handlers = [Once(tmp_path / "one"), logging.FileHandler(tmp_path / "two")]
    for handler in handlers:
        logger.addHandler(handler)
    try:
        assert [log_files.reopened(handler) for handler in handlers] == [False, True]
        logger.error("after it")
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text() == "after it\n"
    assert "Log file not reopened, keeping the current one: once only" in caplog.text
