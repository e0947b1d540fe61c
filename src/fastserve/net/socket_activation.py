"""Sockets that systemd has bound for this process (sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import os

HANDOVER = "FASTSERVE_HANDOVER"  # the variable that says what they are where a server has left them to its successor
FIRST_ACTIVATED = 3  # the descriptor of the first


def activated() -> list[int]:
    """Return the descriptors of the sockets that systemd has bound for this process.

    The variables are removed from the environment: they are for this process, not for its children.
    """
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    found = list(range(FIRST_ACTIVATED, FIRST_ACTIVATED + int(count)))
    for fd in found:
        with contextlib.suppress(OSError):
            os.set_inheritable(fd, False)
    return found
