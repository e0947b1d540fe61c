"""What a server hands over to its successor (SIGUSR2): its sockets, by the convention of systemd, and their purposes.

The successor is the same command, started again by a process that puts the sockets at descriptors 3 and up and sets
LISTEN_FDS and LISTEN_PID. FASTSERVE_HANDOVER names the purpose of each. A socket pair between the two servers carries
READY when the successor serves, and then GO when the predecessor has released what only one server may have.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

from fastserve.net.address import Bind
from fastserve.net.socket_activation import HANDOVER, activated

READY, GO = b"ready\n", b"go\n"
MOST_DESCRIPTORS = 253  # Linux's SCM_MAX_FD
GO_SECONDS = 10.0  # for the predecessor to let go; it may have died
BIND, OWN, METRICS, CONTROL, CHANNEL = "bind", "own", "metrics", "control", "channel"

Inherited = dict[str, list[socket.socket]]


def key(bind: Bind) -> str:
    """Return the name that a socket is found by: its address, with or without TLS."""
    if bind.fd is not None:
        return f"fd://{bind.fd}"
    return f"unix:{bind.path}" if bind.path is not None else f"{bind.host}:{bind.port}"


class Bequest:
    """What a server hands over: descriptors, each with its purpose and the name that it is found by."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []
        self.purposes: list[tuple[str, str]] = []

    def add(self, sock: socket.socket, purpose: str, name: str = "") -> None:
        self.descriptors.append(sock.fileno())
        self.purposes.append((purpose, name))

    def variables(self, **more: Any) -> dict[str, str]:
        return {HANDOVER: json.dumps({"parent": os.getpid(), "sockets": self.purposes, **more})}


class Handover:
    """What this process has got from its predecessor."""

    def __init__(self, document: dict[str, Any], descriptors: list[int]) -> None:
        self.parent: int = document["parent"]
        self.family: int = document["family"]
        self.activated: list[int] = document["activated"]  # systemd's descriptors, by the predecessor's numbers
        self.files: list[str] = document["files"]  # of UNIX sockets, to be removed at the end
        self.binds: Inherited = {}
        self.metrics: Inherited = {}
        self.own: list[socket.socket] = []  # sockets of single workers, with --reuse-port
        self.control: socket.socket | None = None
        self.channel: socket.socket
        for descriptor, (purpose, name) in zip(descriptors, document["sockets"], strict=True):
            sock = socket.socket(fileno=descriptor)
            if purpose in (BIND, METRICS):
                (self.binds if purpose == BIND else self.metrics).setdefault(name, []).append(sock)
            elif purpose == OWN:
                self.own.append(sock)
            elif purpose == CONTROL:
                self.control = sock
            else:
                self.channel = sock

    @classmethod
    def from_environment(cls) -> Handover | None:
        """Return what the predecessor has handed over, None without one, and remove it from the environment."""
        text = os.environ.pop(HANDOVER, "")
        if not text:
            return None
        descriptors = activated()
        document = json.loads(text)
        if len(descriptors) != len(document["sockets"]):
            return None  # it was meant for another process
        return cls(document, descriptors)

    def take_binds(self, binds: Sequence[Bind]) -> dict[Bind, list[socket.socket]]:
        """Return the sockets of these addresses, and close all others."""
        names = [key(bind) for bind in binds]
        if names != list(self.binds):  # sockets of workers stand in the order of the addresses
            close(self.own)
            self.own = []
        return taken(self.binds, binds)

    def take_metrics(self, binds: Sequence[Bind]) -> dict[Bind, list[socket.socket]]:
        return taken(self.metrics, binds)

    def take_control(self, wanted: bool) -> socket.socket | None:
        """Return the control socket if this server has one, too."""
        found, self.control = self.control, None
        if found is not None and not wanted:
            found.close()
            found = None
        return found

    def announce(self) -> tuple[bytes, list[int]]:
        """Tell the predecessor that this process serves, and wait until it has let go.

        Return its counts, and descriptors of the pages that its workers still write; neither if it has died.
        """
        with contextlib.suppress(OSError):
            self.channel.sendall(READY)
            if select.select([self.channel], [], [], GO_SECONDS)[0]:
                said, descriptors, *_ = socket.recv_fds(self.channel, len(GO), MOST_DESCRIPTORS)
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
                if said == GO and descriptors:
                    with os.fdopen(descriptors[0], "rb") as file:
                        file.seek(0)
                        return file.read(), descriptors[1:]
        return b"", []


def let_go(channel: socket.socket, counted: bytes, descriptors: list[int]) -> None:
    """Tell the successor that this process has let go, and pass its counts on. Raises OSError."""
    with tempfile.TemporaryFile() as file:
        file.write(counted)
        file.flush()
        socket.send_fds(channel, [GO], [file.fileno(), *descriptors])


def taken(sockets: Inherited, binds: Sequence[Bind]) -> dict[Bind, list[socket.socket]]:
    found = {bind: sockets.pop(key(bind)) for bind in binds if key(bind) in sockets}
    for others in sockets.values():
        close(others)
    return found


def close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
