"""Notifications to the service manager about the state of this process (sd_notify(3))."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time

logger = logging.getLogger("fastserve.error")


class Notifier:
    """Sends states to the service manager's socket; what cannot be sent is dropped without an error."""

    def __init__(self, address: str, watchdog_seconds: float | None = None) -> None:
        self.address = f"\0{address[1:]}" if address.startswith("@") else address
        self.interval = None if watchdog_seconds is None else watchdog_seconds / 2
        self.next_watchdog = 0.0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)

    @classmethod
    def from_environment(cls) -> Notifier | None:
        """Return the one described by NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; None without NOTIFY_SOCKET."""
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
            return None
        usec = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(address, int(usec) / 1e6 if mine and usec.isdecimal() and int(usec) else None)

    def send(self, *lines: str) -> None:
        """Send assignments like READY=1, in one datagram."""
        with contextlib.suppress(OSError):
            self.socket.sendto("\n".join(lines).encode(), self.address)

    def ready(self, status: str = "Serving") -> None:
        """Announce that the server serves, for the first time or again after reloading()."""
        self.send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")

    def status(self, text: str) -> None:
        self.send(f"STATUS={text}")

    def reloading(self) -> None:
        """Announce that workers or certificates are being replaced; ready() ends this."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=Reloading")

    def stopping(self) -> None:
        self.send("STOPPING=1", "STATUS=Stopping")

    def passed_on(self, pid: int) -> None:
        """Announce that another process is the service's main process from now on."""
        self.send(f"MAINPID={pid}", "STATUS=Replaced by its successor")

    def watchdog(self) -> None:
        """Announce that the process is alive, if wanted and due: twice in each watchdog interval."""
        if self.interval is not None and time.monotonic() >= self.next_watchdog:
            self.next_watchdog = time.monotonic() + self.interval
            self.send("WATCHDOG=1")
