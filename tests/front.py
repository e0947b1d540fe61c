"""Programs that run in front of a server, such as nginx, where they are installed."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import PATIENCE, Command, held_port

StartProxy = Callable[[Callable[[int], list[str]]], int]


def program(name: str) -> str:
    """Return the path of a program, or skip the test."""
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@contextlib.contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A folder whose path is short enough for a UNIX socket, and open to the users of proxies."""
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def proxies() -> Iterator[StartProxy]:
    """Start proxies: start(argv of a port) -> the port: a proxy does not say which one the system has given it."""
    with contextlib.ExitStack() as stack:

        def start(arguments: Callable[[int], list[str]]) -> int:
            port = stack.enter_context(held_port())
            process = Command(arguments(port))
            stack.callback(process.close)
            assert accepts(process, functools.partial(socket.create_connection, ("127.0.0.1", port), PATIENCE)), (
                process.output
            )
            return port

        yield start


def accepts(process: Command, connect: Callable[[], socket.socket]) -> bool:
    """Wait until a process accepts connections; return False if it ends before."""
    while process.process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError), connect():
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.process.wait(0.02)
    return False


def nginx_paths(folder: Path) -> str:
    """Return the directives that keep nginx's temporary files in a folder."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
