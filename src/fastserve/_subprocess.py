"""Making a server's child process, under the name that programs know from uvicorn._subprocess."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from socket import socket
from typing import TYPE_CHECKING

from fastserve.supervisor import child

if TYPE_CHECKING:
    from fastserve.config import Config

__all__ = ["get_subprocess"]


def get_subprocess(config: Config, target: Callable[..., None], sockets: list[socket]) -> SpawnProcess:
    """Return a process, not started yet, that calls `target(sockets=sockets)` with logging configured."""
    return child.process(config, target, sockets)
