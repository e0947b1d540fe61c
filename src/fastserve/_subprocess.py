"""A child process that serves, as uvicorn's supervisors and some programs start one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from socket import socket
from typing import Any

from fastserve.config import Config

multiprocessing.allow_connection_pickling()
spawn = multiprocessing.get_context("spawn")


def get_subprocess(config: Config, target: Callable[..., None], sockets: list[socket]) -> SpawnProcess:
    """Return a process, not started yet, that calls target(sockets=sockets), which is Server.run of a server mostly.

    The sockets are bound in this process and handed to that one.
    """
    stdin: int | None = None
    with contextlib.suppress(AttributeError, OSError, ValueError):  # of a standard input that is none
        stdin = sys.stdin.fileno()
    options: dict[str, Any] = {"config": config, "target": target, "sockets": sockets, "stdin_fileno": stdin}
    return spawn.Process(target=subprocess_started, kwargs=options)


def subprocess_started(
    config: Config, target: Callable[..., None], sockets: list[socket], stdin_fileno: int | None
) -> None:
    """Serve, in the child: with the parent's standard input, for debuggers, and the logging of the options."""
    if stdin_fileno is not None:
        sys.stdin = os.fdopen(stdin_fileno)
    config.configure_logging()
    with contextlib.suppress(KeyboardInterrupt):  # which the parent expects
        target(sockets=sockets)
