from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from topics import clients


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    """Close what a test has opened."""
    yield
    while clients.opened:
        clients.opened.pop().close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that is not there yet, whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="fs-") as name:
        yield Path(name) / "d"
