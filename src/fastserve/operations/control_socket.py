"""Binding the control socket so that no other user can connect in between, or put another one in its place."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from fastserve.net import sockets

ONLY_OWN = 0o177  # the umask while it is bound
WAITING = 64  # clients in the kernel's queue


def bound(path: str, mode: int) -> tuple[socket.socket, sockets.SocketFile]:
    """Return a socket that listens at this path, and its file. Raises OSError saying what failed."""
    check_directory(path)
    if sockets.is_socket_file(path) and not sockets.is_listened_on(path):
        os.unlink(path)  # noqa: PTH108
    before = os.umask(ONLY_OWN)
    try:
        sock = sockets.bind_unix(path, mode)
    finally:
        os.umask(before)
    try:
        file = sockets.SocketFile(path)
        sock.listen(WAITING)  # at once: what does not listen is taken for left over
    except OSError as exc:
        sock.close()
        raise sockets.binding_error(f"unix socket {path!r}", exc) from None
    return sock, file


def check_directory(path: str) -> None:
    """Raise OSError for a directory in which any user could replace the socket."""
    folder = Path(path).absolute().parent
    try:
        mode = folder.stat().st_mode
    except OSError as exc:
        raise sockets.binding_error(f"unix socket {path!r}", exc) from None
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        why = f"every user can write to its directory '{folder}', which is not sticky"
        raise OSError(errno.EPERM, f"error while attempting to bind on unix socket {path!r}: {why}")
