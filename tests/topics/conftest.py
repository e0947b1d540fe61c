from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from topics import clients


@pytest.fixture
def serve(serve: support.Serve) -> Iterator[support.Serve]:
    """Close the clients before the servers stop, which wait for their close frames."""
    yield serve
    clients.close_all()


@pytest.fixture
def command(command: support.StartCommand) -> Iterator[support.StartCommand]:
    yield command
    clients.close_all()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that is not there yet, whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="fs-") as name:
        yield Path(name) / "d"
