"""The successor of a parent (SIGUSR2): the same command, started again with the sockets of this one.

It starts in the working directory of the command, with the present code, Python and configuration. Until it serves this
parent goes on, also if the successor fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastserve.config import Config
from fastserve.net.sockets import SocketFile, is_socket_file
from fastserve.options import environment
from fastserve.process.handover import BIND, CHANNEL, CONTROL, METRICS, OWN, READY, Bequest, Handover, key, let_go
from fastserve.process.pid_file import PidFile
from fastserve.supervisors.process import fate

if TYPE_CHECKING:
    from fastserve.metrics.service import Service
    from fastserve.net.listeners import Listeners
    from fastserve.operations.control import Control

STOP_SECONDS = 5.0  # that a cancelled successor has to end
FIRST_PROCESS = 1

# Runs in the process that becomes the successor, because LISTEN_PID is its own process id.
STARTER = """
import fcntl, json, os, sys
descriptors, predecessor, argv = json.loads(sys.argv[1])
above = 3 + len(descriptors)
moved = [fcntl.fcntl(each, fcntl.F_DUPFD, above) for each in descriptors]
for number, each in enumerate(moved, 3):
    os.dup2(each, number)
for each in {*moved, *descriptors} - set(range(3, above)):
    os.close(each)
os.environ["LISTEN_FDS"] = str(len(descriptors))
os.environ["LISTEN_PID"] = str(os.getpid())
if os.environ.get("WATCHDOG_PID") == str(predecessor):
    os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(argv[0], argv)
"""


@dataclass
class Estate:
    """What a parent hands over to its successor."""

    listeners: Listeners
    metrics: Service | None
    control: Control | None
    directory: str  # in which the command was started

    def let_go(self) -> None:
        """Leave to the successor, which serves by now, what only one server may have."""
        self.listeners.files = []
        if self.metrics is not None:
            self.metrics.let_go()
        if self.control is not None:
            self.control.let_go()


def working_directory() -> str:
    """Return the working directory by its name, not resolved: a symbolic link may lead elsewhere at the next start.

    Raises FileNotFoundError if it has been deleted.
    """
    named = os.environ.get("PWD", "")
    with contextlib.suppress(OSError):
        if Path(named).samefile("."):
            return named
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        raise FileNotFoundError(
            "the working directory has been deleted: start in one that exists, since child processes need it"
        ) from None


def impossible() -> str | None:
    """Return why this process cannot have a successor, None if it can."""
    if os.getpid() == FIRST_PROCESS:
        return "a container ends with its process 1; start another container"
    if getattr(sys, "frozen", False) or not sys.executable:
        return "this program does not run in an interpreter that can be started again"
    return None


class Successor:
    """The successor while it starts: after look(), `serves` or `failed` tell its state."""

    def __init__(self, config: Config, estate: Estate, own: list[socket.socket]) -> None:
        """Start it. `own` are the sockets of single workers, with --reuse-port. Raises OSError."""
        self.serves = False
        self.failed: str | None = None
        self.channel, theirs = socket.socketpair()
        bequest = Bequest()
        for bind, group in estate.listeners.groups:
            for sock in group:
                bequest.add(sock, BIND, key(bind))
        for sock in own:
            bequest.add(sock, OWN)
        if estate.metrics is not None:
            for bind, group in estate.metrics.listeners.groups:
                for sock in group:
                    bequest.add(sock, METRICS, key(bind))
        if estate.control is not None:
            bequest.add(estate.control.sock, CONTROL)
        bequest.add(theirs, CHANNEL)
        files = [str(file.path) for file in estate.listeners.files]
        variables = {name: value for name, value in os.environ.items() if name not in environment.from_files}
        variables |= bequest.variables(family=config.family, activated=config.activated, files=files)
        argv = [sys.executable, *sys.orig_argv[1:]]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", STARTER, json.dumps([bequest.descriptors, os.getpid(), argv])],
                env=variables,
                cwd=estate.directory,
                pass_fds=bequest.descriptors,
            )
        except BaseException:
            self.channel.close()
            raise
        finally:
            theirs.close()
        self.channel.setblocking(False)

    @property
    def pid(self) -> int:
        return self.process.pid

    def look(self) -> None:
        """Check whether it serves, or has ended."""
        try:
            said = self.channel.recv(len(READY))
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self.serves = True
        elif self.process.poll() is not None:
            self.channel.close()
            self.failed = f"ended before it was ready ({fate(self.process.returncode)})"

    def go(self, counted: bytes, pages: list[int]) -> None:
        """Tell it that this process has let go, and pass the counts on. The channel closes with this process."""
        with contextlib.suppress(OSError):
            let_go(self.channel, counted, pages)
        self.process.returncode = 0  # it outlives this process, of which subprocess would warn

    def stop(self) -> None:
        """Terminate it, by force if it does not end in time."""
        self.channel.close()
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Takeover:
    """Taking over from a predecessor: complete() it once this process serves."""

    def __init__(self, handover: Handover, estate: Estate, stack: contextlib.ExitStack) -> None:
        self.handover = handover
        self.estate = estate
        self.stack = stack  # undone once no worker listens
        self.predecessor = handover.parent

    def own_sockets(self, count: int) -> list[list[socket.socket]]:
        """Return the sockets that single workers of the predecessor had, `count` for each worker."""
        own = self.handover.own
        return [own[at : at + count] for at in range(0, len(own), count)]

    def complete(self, config: Config) -> tuple[bytes, list[int]]:
        """Take what only one server may have, and return the predecessor's counts.

        Raises OSError, having taken nothing.
        """
        if config.pid_file is not None:
            self.stack.callback(PidFile.written(config.pid_file, self.predecessor).remove)
        counted = self.handover.announce()
        self.estate.listeners.files += [SocketFile(path) for path in self.handover.files if is_socket_file(path)]
        if self.estate.control is not None:
            self.estate.control.owns_file = True
        return counted
