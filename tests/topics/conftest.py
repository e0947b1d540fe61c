from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from topics import clients
from topics.clients import close_all
from topics.rooms import app


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


@pytest.fixture(params=["memory", "unix", "redis"])
def connected(request: pytest.FixtureRequest, folder: Path, serve: support.Serve) -> Iterator[Callable[..., Any]]:
    """Start servers whose topics are connected: connected(**options) returns two, or with memory the same one twice."""
    if request.param == "memory":

        def same(**options: Any) -> list[support.Running]:
            return [serve(app, **options)] * 2

        yield same
        return
    url = f"unix:{folder}"
    server = None
    if request.param == "redis":
        from topics.redis_server import Server  # an error without that package of the system

        server = Server(folder)
        server.start()
        url = server.url
    yield lambda **options: [serve(app, topics=url, **options) for _ in range(2)]
    close_all()
    if server is not None:
        server.kill()  # the servers stop without it
