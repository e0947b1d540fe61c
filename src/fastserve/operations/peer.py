"""Who is at the other end of a UNIX socket."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import NamedTuple

PEERGROUPS = 59  # SO_PEERGROUPS of Linux, which the module socket does not name
SOL_LOCAL, LOCAL_PEERCRED, LOCAL_PEERPID = 0, 1, 2  # of macOS and FreeBSD
MOST_GROUPS = 65536


class Peer(NamedTuple):
    """A process as it was when it connected."""

    pid: int
    uid: int
    groups: frozenset[int]


def peer_of(client: socket.socket) -> Peer:
    """Return who has connected. Raises OSError where the system does not tell."""
    if sys.platform != "linux":
        return peer_of_bsd(client)
    pid, uid, gid = struct.unpack("=3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid, frozenset((gid, *more_groups(client))))


def peer_of_bsd(client: socket.socket) -> Peer:
    # struct xucred: version, uid, count of groups, and 16 of them
    data = client.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, 76)
    _, uid, count = struct.unpack_from("=IIh", data)
    groups = struct.unpack_from(f"={min(max(count, 0), 16)}I", data, 12)
    try:
        pid = struct.unpack("=i", client.getsockopt(SOL_LOCAL, LOCAL_PEERPID, 4))[0]
    except OSError:
        pid = 0
    return Peer(pid, uid, frozenset(groups))


def more_groups(client: socket.socket) -> tuple[int, ...]:
    try:
        data = client.getsockopt(socket.SOL_SOCKET, PEERGROUPS, MOST_GROUPS * 4)
    except OSError:
        return ()  # before Linux 4.13
    return struct.unpack(f"={len(data) // 4}I", data)


def may_order(peer: Peer, mode: int, group: int) -> bool:
    """Return whether a process may use verbs that change something: root, this user, or with 660 the group's."""
    own = os.geteuid() if hasattr(os, "geteuid") else -1
    return peer.uid in (0, own) or bool(mode & 0o020 and group in peer.groups)
