"""Making a server's child process, under the names that programs know from uvicorn._subprocess."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from socket import socket

from fastserve.config import Config
from fastserve.supervisors import child
from fastserve.supervisors.child import spawn

__all__ = ["Config", "get_subprocess", "spawn", "subprocess_started"]


def get_subprocess(config: Config, target: Callable[..., None], sockets: list[socket]) -> SpawnProcess:
    """Return a process, not started yet, that calls `target(sockets=sockets)` with logging configured.

    `target` is Server.run of a server mostly. The sockets are bound in this process and handed to that one.
    """
    return child.process(config, target, sockets)


def subprocess_started(
    config: Config, target: Callable[..., None], sockets: list[socket], stdin_fileno: int | None
) -> None:
    """Call `target(sockets=sockets)`, in the child: with the parent's standard input, for debuggers, and logging."""
    child.main(config, target, sockets, connection=None, dump=None, replaces=False, stdin=stdin_fileno)
