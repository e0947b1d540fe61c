"""The connections between the nodes of a mesh, and their frames: length, kind and fields.

A node writes on the connections that it has made, its Links, and reads from those that it has accepted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from typing import Any, Protocol

from fastserve.topics.wire import pack

PATIENCE = 8 << 20  # bytes that wait for a node that does not read
HELD = 65536  # bytes of frames that wait for the end of the turn

(
    HELLO,
    INTEREST,
    TOLD,
    LOST,
    MESSAGE,
    GAP,
    STORE,
    ASK_HISTORY,
    ASK_COUNTS,
    ANSWER,
    OWNER,
    HANDED,
    HANDOVER,
    LEAVING,
    JOIN,
    LEAVE,
) = range(16)

HEAD = struct.Struct(">IB")

logger = logging.getLogger("fastserve.error")


def frame(kind: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return HEAD.pack(len(body), kind) + body


class Peer:
    """Another node, as far as it has told of itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.link: Link | None = None  # to write to it
        self.reading: Accepted | None = None  # what it writes on
        self.topics: set[str] | None = None  # that it has subscribers of, None until it has told
        self.told = asyncio.Event()
        self.owns = False
        self.late = False  # it has not answered in time, and nothing has come of it since
        self.dropped: set[str] = set()  # topics of the messages that it has not got

    def write(self, data: bytes) -> None:
        if self.link is not None and self.link.is_open:
            self.link.write(data)


class Mesh(Protocol):
    """What connections ask of their node."""

    largest: int  # bytes of a frame
    accepted: set[Accepted]

    def greeting(self) -> bytes:
        """Return what a peer is told first."""

    def take(self, connection: Accepted, kind: int, body: bytes) -> None:
        """Do what a frame says. Raises ValueError for one that says nothing."""

    def lost(self, peer: Peer, link: Link | None) -> None:
        """Note that a connection with a peer is lost: one to it, or with None one from it."""

    def heard(self) -> None:
        """Note that a connection has ended."""

    def hold(self, link: Link) -> None:
        """Call flush() of a connection at the end of this turn."""


class Link(asyncio.Protocol):
    """A connection to a peer, which is written to alone: once a turn of the loop, or where much is held."""

    def __init__(self, mesh: Mesh, peer: Peer) -> None:
        self.mesh = mesh
        self.peer = peer
        self.transport: asyncio.Transport
        self.full = False
        self.held: list[bytes] = []
        self.held_size = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=PATIENCE)
        if same_user(transport.get_extra_info("socket")):
            transport.write(self.mesh.greeting())
        else:
            logger.warning("topics: worker %s belongs to another user", self.peer.name)
            transport.abort()

    def write(self, data: bytes) -> None:
        if not self.held:
            self.mesh.hold(self)
        self.held.append(data)
        self.held_size += len(data)
        if self.held_size > HELD:
            self.flush()

    def flush(self) -> None:
        if self.held:
            data = self.held[0] if len(self.held) == 1 else b"".join(self.held)
            self.held.clear()
            self.held_size = 0
            if not self.transport.is_closing():
                self.transport.write(data)

    def close(self) -> None:
        """Close it after what is held."""
        self.flush()
        self.transport.close()

    def pause_writing(self) -> None:
        self.full = True
        logger.warning("topics: worker %s does not read, messages to it are dropped", self.peer.name)

    def resume_writing(self) -> None:
        self.full = False
        dropped, self.peer.dropped = self.peer.dropped, set()
        for topic in dropped:
            self.write(frame(GAP, pack(topic)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.held.clear()
        self.mesh.lost(self.peer, self)

    @property
    def is_open(self) -> bool:
        return hasattr(self, "transport")


class Accepted(asyncio.Protocol):
    """A connection of a peer, which is read alone."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.peer: Peer | None = None
        self.buffer = bytearray()
        self.transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.mesh.accepted.add(self)
        if not same_user(transport.get_extra_info("socket")):
            logger.warning("topics: refused a connection of another user")
            transport.abort()

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        at = 0
        while len(buffer) - at >= HEAD.size:
            size, kind = HEAD.unpack_from(buffer, at)
            if size > self.mesh.largest:
                logger.error("topics: a frame of %d bytes, closing its connection", size)
                self.transport.abort()
                return
            if len(buffer) - at < HEAD.size + size:
                break
            body = bytes(buffer[at + HEAD.size : at + HEAD.size + size])
            at += HEAD.size + size
            try:
                self.mesh.take(self, kind, body)
            except ValueError as exc:
                logger.error("topics: a frame that is not valid (%s), closing its connection", exc)
                self.transport.abort()
                return
        del buffer[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        self.mesh.accepted.discard(self)
        self.mesh.heard()
        if self.peer is not None and self.peer.reading is self:
            self.mesh.lost(self.peer, None)


def same_user(sock: socket.socket | None) -> bool:
    """Return whether the other end is a process of our user, as far as the platform tells."""
    option = getattr(socket, "SO_PEERCRED", None)
    if sock is None or option is None:
        return True
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return bool(uid == os.getuid())
