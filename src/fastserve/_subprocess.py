"""Making a server's child process, under the names that programs know from uvicorn._subprocess."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from socket import socket

from fastserve.config import Config

__all__ = ["Config", "get_subprocess", "spawn", "subprocess_started"]

spawn = multiprocessing.get_context("spawn")


def get_subprocess(config: Config, target: Callable[..., None], sockets: list[socket]) -> SpawnProcess:
    """Return a process, not started yet, that calls `target(sockets=sockets)` with logging configured.

    `target` is Server.run of a server mostly. The sockets are bound in this process and handed to that one.
    """
    from fastserve.supervisors import child  # which gives out this module's names

    return child.process(config, target, sockets)


def subprocess_started(
    config: Config, target: Callable[..., None], sockets: list[socket], stdin_fileno: int | None
) -> None:
    """Call `target(sockets=sockets)`, in the child: with the parent's standard input, for debuggers, and logging."""
    from fastserve.supervisors import child

    child.main(config, target, sockets, connection=None, dump=None, replaces=False, stdin=stdin_fileno)
