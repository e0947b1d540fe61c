"""The engine between the processes of a host: a directory with a UNIX stream socket of each.

Each node listens on its own socket and connects to all others. It writes on the connections that it has made and reads
from those that it has accepted, so every pair has two (mesh_peers).

interest  A node tells all others which topics it has subscribers of, first all of them, then each change. A message
          goes to the nodes that have subscribers; one that has not told yet gets all.
ready     A new node is ready when every other has connected to it and told its interest, or after READY_SECONDS.
owners    The history of a topic has one node as its owner, and all messages with a history go through that node: see
          mesh_histories. The histories of a node that dies are lost: their topics get a new epoch.
members   A node tells all others who is in its topics, first all of them, then each change. Those of a node that is
          lost leave after a while, in which they may come back to another.
slow      For a node that does not read, up to PATIENCE bytes wait. Messages that come then are dropped, and it is told
          their topics when it reads again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastserve._core.topics.message import Message
from fastserve.topics import directory, presence
from fastserve.topics.engine import Engine, EngineDown, Keep, Receiver, Recovery, Stored, quiet
from fastserve.topics.mesh_histories import HANDOVER_SECONDS, OwnedHistories
from fastserve.topics.mesh_peers import (
    ANSWER,
    ASK_COUNTS,
    ASK_HISTORY,
    GAP,
    HANDED,
    HANDOVER,
    HELLO,
    INTEREST,
    JOIN,
    LEAVE,
    LEAVING,
    LOST,
    MESSAGE,
    OWNER,
    STORE,
    TOLD,
    Accepted,
    Link,
    Peer,
    frame,
)
from fastserve.topics.presence import Roster
from fastserve.topics.wire import LONG, Reader, pack, pack_message

READY_SECONDS = 1.0
ACK_SECONDS = 0.5
ASK_SECONDS = 5.0
FIELDS = 1 << 17  # bytes of a frame besides a message

logger = logging.getLogger("fastserve.error")


class MeshEngine(Engine):
    """Carries messages between the nodes of a directory. One that only `publishes` owns no histories."""

    features = frozenset({"history", "presence", "processes"})

    def __init__(self, path: Path, max_size: int, publishes: bool = False) -> None:
        self.path = path
        self.largest_message = max_size
        self.largest = max_size + FIELDS
        self.publishes = publishes
        self.receiver: Receiver
        self.peers: dict[str, Peer] = {}
        self.accepted: set[Accepted] = set()
        self.histories: OwnedHistories = OwnedHistories(self)
        self.roster = Roster()
        self.leaving = False
        self.left = False
        self._departed: list[Link] = []  # to those that have let go of this node as it leaves
        self._server: asyncio.AbstractServer | None = None
        self._heard = asyncio.Event()  # a connection has ended, or an answer has come
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[str, asyncio.Future[bytes]]] = {}
        self._tasks: set[asyncio.Future[Any]] = set()
        self._holding: list[Link] = []

    # Life

    @property
    def _socket(self) -> Path:
        return self.path / f"{self.receiver.name}.sock"

    async def start(self, receiver: Receiver) -> None:
        self.receiver = receiver
        loop = asyncio.get_running_loop()
        directory.prepare(self.path)
        unlisted = self.path / f"{receiver.name}.new"
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(os.fspath(unlisted))
            sock.listen(1024)
            self._server = await loop.create_unix_server(lambda: Accepted(self), sock=sock)
            unlisted.rename(self._socket)
        except OSError:
            sock.close()
            raise
        for path in directory.sockets(self.path):
            if path != self._socket:
                await self._connect(path.stem, path)
        waited = [asyncio.ensure_future(peer.told.wait()) for peer in self.peers.values()]
        if waited:
            _, late = await asyncio.wait(waited, timeout=READY_SECONDS)
            for each in late:
                each.cancel()
        for peer in self.peers.values():
            if not peer.told.is_set():
                logger.warning("topics: worker %s does not respond, continuing without it", peer.name)
        if not self.publishes:
            self.histories.become_owner()

    async def _connect(self, name: str, path: Path) -> None:
        peer = self.peers.get(name)
        if peer is None:
            peer = self.peers[name] = Peer(name)
        elif peer.link is not None:
            return
        loop = asyncio.get_running_loop()
        link = peer.link = Link(self, peer)
        try:
            await loop.create_unix_connection(lambda: link, os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            del self.peers[name]
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108  # of a process that was killed
            return
        except OSError as exc:
            del self.peers[name]
            logger.warning("topics: cannot reach worker %s: %s", name, exc)

    def greeting(self) -> bytes:
        """Return what a peer is told first."""
        parts = [frame(HELLO, pack(self.receiver.name))]
        parts += [frame(INTEREST, LONG.pack(0), pack(topic)) for topic in self.receiver.names()]
        parts += [frame(JOIN, pack(*each)) for each in self.roster.of(self.receiver.name)]
        parts.append(frame(TOLD))
        if self.histories.owns:
            parts.append(frame(OWNER))
        return b"".join(parts)

    async def stop(self) -> None:
        if self._server is None:
            return
        await self.histories.settled.wait()  # else what it is being given would be lost
        self.leaving = True
        with contextlib.suppress(OSError):
            self._socket.unlink()
        waited = self.histories.give_all()
        if waited:
            await asyncio.wait(waited, timeout=HANDOVER_SECONDS)
        self.left = True
        for peer in self.peers.values():
            peer.write(frame(LEAVING))
        self._server.close()
        await self._pass_on()
        links = [peer.link for peer in self.peers.values() if peer.link is not None]
        for link in [*links, *self._departed]:
            if link.is_open:
                link.close()
        for each in list(self.accepted):
            each.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.sleep(0)
        directory.remove(self.path)

    async def _pass_on(self) -> None:
        """Go on for those that do not know yet that this node leaves, until they do."""
        deadline = time.monotonic() + HANDOVER_SECONDS
        while (self.accepted or self._asked) and (left := deadline - time.monotonic()) > 0:
            self._heard.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._heard.wait(), left)

    def lost(self, peer: Peer, link: Link | None) -> None:
        """Forget a peer with which a connection is lost: one to it or, with `link` None, one from it."""
        if (link is not None and peer.link is not link) or self.peers.get(peer.name) is not peer:
            return
        del self.peers[peer.name]
        if peer.link is not None and peer.link.is_open:
            if self.leaving and link is None:
                self._departed.append(peer.link)  # what it has asked may still be answered
            else:
                peer.link.transport.abort()
        if peer.reading is not None:
            peer.reading.transport.abort()
        peer.told.set()
        self.histories.handed_by(peer.name)
        if not self.leaving:
            presence.later(asyncio.get_running_loop(), presence.LEAVE_SECONDS, self._lose_members, peer.name)
        for number, (name, future) in list(self._asked.items()):
            if name == peer.name and not future.done():
                future.set_exception(EngineDown("the worker that has the topic's history is gone"))
                del self._asked[number]

    # Between nodes

    def heard(self) -> None:
        """Note that a connection has ended, or that a reply has come."""
        self._heard.set()

    def hold(self, link: Link) -> None:
        """Write what a connection holds at the end of this turn."""
        if not self._holding:
            asyncio.get_running_loop().call_soon(self._flush)
        self._holding.append(link)

    def _flush(self) -> None:
        holding, self._holding = self._holding, []
        for link in holding:
            link.flush()

    def later(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def take(self, connection: Accepted, kind: int, body: bytes) -> None:
        """Do what a frame says. Raises ValueError for one that says nothing."""
        reader = Reader(body)
        if connection.peer is None:
            if kind != HELLO:
                raise ValueError("it does not begin with a name")
            self._greet(connection, reader.text())
            return
        taker = TAKERS.get(kind)
        if taker is None:
            raise ValueError(f"it is of kind {kind}")
        connection.peer.late = False
        taker(self, connection.peer, reader)

    def _greet(self, connection: Accepted, name: str) -> None:
        if not name.isalnum() or name == self.receiver.name:
            raise ValueError("it has no name")
        peer = self.peers.get(name)
        if peer is None:
            peer = self.peers[name] = Peer(name)
        peer.reading = connection
        connection.peer = peer
        peer.topics = set()
        if peer.link is None:
            self.later(self._connect(name, self.path / f"{name}.sock"))

    def _take_interest(self, peer: Peer, reader: Reader) -> None:
        number = reader.number()
        if peer.topics is not None:
            peer.topics.add(reader.text())
        if number:
            peer.write(frame(ANSWER, LONG.pack(number)))

    def _take_lost(self, peer: Peer, reader: Reader) -> None:
        if peer.topics is not None:
            peer.topics.discard(reader.text())

    def _take_told(self, peer: Peer, reader: Reader) -> None:
        peer.told.set()

    def _take_leaving(self, peer: Peer, reader: Reader) -> None:
        peer.owns = False
        peer.topics = set()
        peer.told.set()
        link, peer.link = peer.link, None
        if link is not None and link.is_open:
            link.close()  # after what is on its way; it passes on what others have to have
        self.histories.give_others()

    def _take_message(self, peer: Peer, reader: Reader) -> None:
        exclude = reader.optional()
        self.receiver.receive(reader.message(), exclude)

    def _take_gap(self, peer: Peer, reader: Reader) -> None:
        self.receiver.gap(reader.text())

    def _take_answer(self, peer: Peer, reader: Reader) -> None:
        asked = self._asked.pop(reader.number(), None)
        if asked is not None and not asked[1].done():
            asked[1].set_result(reader.rest())
        self.heard()

    def ask(self, peer: Peer, kind: int, *parts: bytes) -> asyncio.Future[bytes]:
        number = next(self._numbers) & 0xFFFFFFFF
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        quiet(future)
        self._asked[number] = (peer.name, future)
        peer.write(frame(kind, LONG.pack(number), *parts))
        return future

    async def reply(self, peer: Peer, kind: int, *parts: bytes) -> bytes:
        try:
            return await asyncio.wait_for(self.ask(peer, kind, *parts), ASK_SECONDS)
        except asyncio.TimeoutError:
            raise EngineDown("the worker that has the topic's history does not respond") from None

    # Messages

    def publish(self, message: Message, keep: Keep | None, exclude: str | None) -> Stored | None:
        if keep is None:
            self.spread(message, exclude)
            return None
        stored: Stored = asyncio.get_running_loop().create_future()
        self.histories.store(message, keep, exclude, stored.set_result, stored.set_exception)
        return stored

    def spread(self, message: Message, exclude: str | None) -> None:
        data = None
        for peer in self.peers.values():
            if peer.link is None or (
                peer.topics is not None and peer.told.is_set() and message.topic not in peer.topics
            ):
                continue
            if peer.link.full:
                peer.dropped.add(message.topic)
                continue
            if data is None:
                data = frame(MESSAGE, pack(exclude), pack_message(message))
            peer.write(data)
        self.receiver.receive(message, exclude)

    def subscribe(self, topic: str) -> asyncio.Future[None] | None:
        told = [peer for peer in self.peers.values() if peer.link is not None and peer.link.is_open]
        asked = [(peer, self.ask(peer, INTEREST, pack(topic))) for peer in told]
        waited = [(peer, each) for peer, each in asked if not peer.late]
        return asyncio.ensure_future(self._known(waited)) if waited else None

    async def _known(self, asked: list[tuple[Peer, asyncio.Future[bytes]]]) -> None:
        """Return once these peers know a topic; one that takes longer than ACK_SECONDS is not waited for again."""
        await asyncio.wait([each for _, each in asked], timeout=ACK_SECONDS)
        for peer, each in asked:
            if not each.done():
                peer.late = True

    def unsubscribe(self, topic: str) -> None:
        self._tell(frame(LOST, pack(topic)))

    def _tell(self, data: bytes) -> None:
        for peer in self.peers.values():
            peer.write(data)

    async def counts(self, topics: list[str]) -> dict[str, int]:
        found = {topic: self.receiver.count(topic) for topic in topics}
        asked = [self.reply(peer, ASK_COUNTS, pack(*topics)) for peer in self.peers.values() if peer.link is not None]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, bytes):
                reader = Reader(answer)
                for topic in topics:
                    found[topic] += reader.number()
        return found

    def _take_ask_counts(self, peer: Peer, reader: Reader) -> None:
        number, counts = reader.number(), []
        while reader.at < len(reader.data):
            counts.append(LONG.pack(self.receiver.count(reader.text())))
        peer.write(frame(ANSWER, LONG.pack(number), *counts))

    # Members

    def join(self, topic: str, member: str, info: str) -> None:
        self._tell(frame(JOIN, pack(topic, member, info)))
        self._note_join(self.receiver.name, topic, member, info)

    def leave(self, topic: str, member: str) -> None:
        self._tell(frame(LEAVE, pack(topic, member)))
        self._note_leave(self.receiver.name, topic, member)

    async def members(self, topic: str) -> dict[str, str]:
        return self.roster.members(topic)

    def _take_join(self, peer: Peer, reader: Reader) -> None:
        self._note_join(peer.name, reader.text(), reader.text(), reader.text())

    def _take_leave(self, peer: Peer, reader: Reader) -> None:
        self._note_leave(peer.name, reader.text(), reader.text())

    def _note_join(self, node: str, topic: str, member: str, info: str) -> None:
        if self.roster.join(topic, member, node, info):
            self.receiver.joined(topic, member, info)

    def _note_leave(self, node: str, topic: str, member: str) -> None:
        info = self.roster.leave(topic, member, node)
        if info is not None:
            self.receiver.left(topic, member, info)

    def _lose_members(self, node: str) -> None:
        if self.leaving:
            return
        for found in self.roster.lose(node):
            self.receiver.left(*found)

    # Histories

    async def history(self, topic: str, since: str | None, only_position: bool = False) -> Recovery:
        return await self.histories.recover(topic, since, only_position)


TAKERS: dict[int, Callable[[MeshEngine, Peer, Reader], None]] = {
    INTEREST: MeshEngine._take_interest,
    LOST: MeshEngine._take_lost,
    TOLD: MeshEngine._take_told,
    MESSAGE: MeshEngine._take_message,
    GAP: MeshEngine._take_gap,
    STORE: lambda mesh, peer, reader: mesh.histories.take_store(peer, reader),
    ASK_HISTORY: lambda mesh, peer, reader: mesh.histories.take_ask_history(peer, reader),
    ASK_COUNTS: MeshEngine._take_ask_counts,
    ANSWER: MeshEngine._take_answer,
    OWNER: lambda mesh, peer, reader: mesh.histories.take_owner(peer, reader),
    HANDED: lambda mesh, peer, reader: mesh.histories.take_handed(peer, reader),
    HANDOVER: lambda mesh, peer, reader: mesh.histories.take_handover(peer, reader),
    LEAVING: MeshEngine._take_leaving,
    JOIN: MeshEngine._take_join,
    LEAVE: MeshEngine._take_leave,
}
