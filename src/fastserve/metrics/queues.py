"""How many connections wait in the kernel to be accepted by a listening socket, and how many may."""

from __future__ import annotations

import os
import socket
import struct
import sys

SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
SHOW_RQLEN = 0x10  # UDIAG_SHOW_RQLEN
RQLEN = 4  # UNIX_DIAG_RQLEN
LISTENING = 1 << 10  # in a set of states of sockets


def queue_of(sock: socket.socket) -> tuple[int, int] | None:
    """Return (waiting, limit) of a listening socket; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        if sock.family == socket.AF_UNIX:
            return unix_queue(os.fstat(sock.fileno()).st_ino)
        # struct tcp_info: eight bytes, then numbers of 32 bits. Of a listener two of them are its queue.
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        waiting, limit = struct.unpack_from("=II", info, 24)  # tcpi_unacked, tcpi_sacked
    except (OSError, struct.error):
        return None
    return waiting, limit


def unix_queue(inode: int) -> tuple[int, int] | None:
    """Return the queue of a listening UNIX socket, which sock_diag(7) shows."""
    # struct nlmsghdr, struct unix_diag_req
    request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, LISTENING, inode, SHOW_RQLEN, 0xFFFFFFFF, 0xFFFFFFFF)
    head = struct.pack("=IHHII", 16 + len(request), BY_FAMILY, 1, 1, 0)  # NLM_F_REQUEST
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, SOCK_DIAG) as asking:
        asking.settimeout(1.0)
        asking.sendto(head + request, (0, 0))
        data = asking.recv(4096)
    if len(data) < 32 or struct.unpack_from("=H", data, 4)[0] != BY_FAMILY:
        return None
    at = 32  # struct nlmsghdr and struct unix_diag_msg, then attributes
    end = struct.unpack_from("=I", data)[0]
    while at + 4 <= end:
        size, kind = struct.unpack_from("=HH", data, at)
        if kind == RQLEN and size >= 12:
            waiting, limit = struct.unpack_from("=II", data, at + 4)
            return waiting, limit
        at += max((size + 3) & ~3, 4)
    return None


def listener_name(sock: socket.socket) -> str:
    """Return the label of a listening socket: its address."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return f"unix:{name if isinstance(name, str) else name.decode('utf-8', 'replace')}"


def overflows() -> int | None:
    """Return how many connections of this host found a queue full, since it was booted."""
    try:
        with open("/proc/net/netstat", encoding="ascii") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except OSError:
        return None
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        if names.startswith("TcpExt:"):
            found = dict(zip(names.split(), values.split(), strict=False))
            return int(found["ListenOverflows"]) if "ListenOverflows" in found else None
    return None
