"""The engine between the processes of a host: a directory with a UNIX stream socket of each.

Each node listens on its own socket and connects to all others. It writes on the connections that it has made and reads
from those that it has accepted, so every pair has two. A frame is its length, its kind and its fields.

interest  A node tells all others which topics it has subscribers of, first all of them, then each change. A message
          goes to the nodes that have subscribers; one that has not told yet gets all.
ready     A new node is ready when every other has connected to it and told its interest, or after READY_SECONDS.
owners    The messages that are kept of a topic are with one node, the one that rates highest for its name among those
          that are ready (rendezvous hashing). All messages with a history go through it. A node that becomes an owner
          is given the histories of its topics by those that had them, and holds back what is stored until all have done
          so; one that leaves gives its histories away first. The histories of one that dies are lost: their topics get
          a new epoch.
members   A node tells all others who is in its topics, first all of them, then each change. Those of a node that is
          lost leave after a while, in which they may come back to another.
slow      For a node that does not read, up to PATIENCE bytes wait. Messages that come then are dropped, and it is told
          their topics when it reads again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import logging
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastserve._core.topics.message import Message
from fastserve.topics import directory, presence
from fastserve.topics.engine import Engine, EngineDown, Keep, Receiver, Recovery, Stored
from fastserve.topics.history import Histories, History
from fastserve.topics.presence import Roster
from fastserve.topics.wire import LONG, Reader, pack, pack_message

READY_SECONDS = 1.0
HANDOVER_SECONDS = 1.0  # for the new owner of a history to take it
ACK_SECONDS = 0.5
ASK_SECONDS = 5.0
PATIENCE = 8 << 20  # bytes
FIELDS = 1 << 17  # bytes of a frame besides a message

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
TIME = struct.Struct(">d")

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


class Link(asyncio.Protocol):
    """A connection to a peer, which is written to alone."""

    def __init__(self, mesh: MeshEngine, peer: Peer) -> None:
        self.mesh = mesh
        self.peer = peer
        self.transport: asyncio.Transport
        self.full = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=PATIENCE)
        if same_user(transport.get_extra_info("socket")):
            transport.write(self.mesh.greeting())
        else:
            logger.warning("topics: worker %s belongs to another user", self.peer.name)
            transport.abort()

    def pause_writing(self) -> None:
        self.full = True
        logger.warning("topics: worker %s does not read, messages to it are dropped", self.peer.name)

    def resume_writing(self) -> None:
        self.full = False
        dropped, self.peer.dropped = self.peer.dropped, set()
        for topic in dropped:
            self.transport.write(frame(GAP, pack(topic)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.mesh.lost(self.peer, self)


class Accepted(asyncio.Protocol):
    """A connection of a peer, which is read alone."""

    def __init__(self, mesh: MeshEngine) -> None:
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
        self.mesh._heard.set()
        if self.peer is not None and self.peer.reading is self:
            self.mesh.lost(self.peer, None)


def same_user(sock: socket.socket | None) -> bool:
    """Whether the other end is a process of our user, as far as the platform tells."""
    option = getattr(socket, "SO_PEERCRED", None)
    if sock is None or option is None:
        return True
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return bool(uid == os.getuid())


class MeshEngine(Engine):
    """Carries messages between the nodes of a directory. One that only `publishes` owns no histories."""

    features = frozenset({"history", "presence", "processes"})

    def __init__(self, path: Path, max_size: int, publishes: bool = False) -> None:
        self.path = path
        self.largest = max_size + FIELDS
        self.publishes = publishes
        self.receiver: Receiver
        self.peers: dict[str, Peer] = {}
        self.accepted: set[Accepted] = set()
        self.histories = Histories()
        self.roster = Roster()
        self.owns = False
        self.handing: set[str] = set()  # peers that may still have histories of ours
        self.settled = asyncio.Event()  # there are none
        self.settled.set()
        self.held: list[Callable[[], None]] = []  # what waits for them
        self.leaving = False
        self._server: asyncio.AbstractServer | None = None
        self._heard = asyncio.Event()  # a connection has ended, or an answer has come
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[str, asyncio.Future[bytes]]] = {}
        self._tasks: set[asyncio.Future[Any]] = set()

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
                logger.warning("topics: worker %s does not answer, going on without it", peer.name)
        if not self.publishes:
            self._become_owner()

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
        if self.owns:
            parts.append(frame(OWNER))
        return b"".join(parts)

    def _become_owner(self) -> None:
        self.owns = True
        for peer in self.peers.values():
            if peer.owns and peer.told.is_set():
                self.handing.add(peer.name)
            self._send(peer, frame(OWNER))
        if self.handing:
            self.settled.clear()
            asyncio.get_running_loop().call_later(HANDOVER_SECONDS, self._all_handed)

    def _all_handed(self) -> None:
        self.handing.clear()
        self.settled.set()
        held, self.held = self.held, []
        for call in held:
            call()

    async def stop(self) -> None:
        if self._server is None:
            return
        self.leaving = True
        self._all_handed()
        with contextlib.suppress(OSError):
            self._socket.unlink()
        given = [self._give(topic) for topic in list(self.histories.topics)]
        waited = [each for each in given if each is not None]
        if waited:
            await asyncio.wait(waited, timeout=HANDOVER_SECONDS)
        for peer in self.peers.values():
            self._send(peer, frame(LEAVING))
        self._server.close()
        await self._pass_on()
        for peer in list(self.peers.values()):
            if peer.link is not None and hasattr(peer.link, "transport"):
                peer.link.transport.close()
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
        """A connection with a peer is gone, and so is the peer."""
        if (link is not None and peer.link is not link) or self.peers.get(peer.name) is not peer:
            return
        del self.peers[peer.name]
        for each in (peer.link, peer.reading):
            if each is not None and hasattr(each, "transport"):
                each.transport.abort()
        peer.told.set()
        self._handed_by(peer.name)
        if not self.leaving:
            presence.later(asyncio.get_running_loop(), presence.LEAVE_SECONDS, self._lose_members, peer.name)
        for number, (name, future) in list(self._asked.items()):
            if name == peer.name and not future.done():
                future.set_exception(EngineDown("the worker that has the topic's history is gone"))
                del self._asked[number]

    # Between nodes

    def _send(self, peer: Peer, data: bytes) -> None:
        if peer.link is not None and hasattr(peer.link, "transport"):
            peer.link.transport.write(data)

    def _later(self, work: Awaitable[Any]) -> None:
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
            self._later(self._connect(name, self.path / f"{name}.sock"))

    def _take_interest(self, peer: Peer, reader: Reader) -> None:
        number = reader.number()
        if peer.topics is not None:
            peer.topics.add(reader.text())
        if number:
            self._send(peer, frame(ANSWER, LONG.pack(number)))

    def _take_lost(self, peer: Peer, reader: Reader) -> None:
        if peer.topics is not None:
            peer.topics.discard(reader.text())

    def _take_told(self, peer: Peer, reader: Reader) -> None:
        peer.told.set()

    def _take_message(self, peer: Peer, reader: Reader) -> None:
        exclude = reader.optional()
        self.receiver.receive(reader.message(), exclude)

    def _take_gap(self, peer: Peer, reader: Reader) -> None:
        self.receiver.gap(reader.text())

    def _take_answer(self, peer: Peer, reader: Reader) -> None:
        asked = self._asked.pop(reader.number(), None)
        if asked is not None and not asked[1].done():
            asked[1].set_result(reader.rest())
        self._heard.set()

    def _ask(self, peer: Peer, kind: int, *parts: bytes) -> asyncio.Future[bytes]:
        number = next(self._numbers) & 0xFFFFFFFF
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda each: each.cancelled() or each.exception())  # somebody may not ask for it
        self._asked[number] = (peer.name, future)
        self._send(peer, frame(kind, LONG.pack(number), *parts))
        return future

    async def _answer(self, peer: Peer, kind: int, *parts: bytes) -> bytes:
        try:
            return await asyncio.wait_for(self._ask(peer, kind, *parts), ASK_SECONDS)
        except asyncio.TimeoutError:
            raise EngineDown("the worker that has the topic's history does not answer") from None

    # Messages

    def publish(self, message: Message, keep: Keep | None, exclude: str | None) -> Stored | None:
        if keep is None:
            self._spread(message, exclude)
            return None
        stored: Stored = asyncio.get_running_loop().create_future()
        self._store(message, keep, exclude, stored.set_result, stored.set_exception)
        return stored

    def _spread(self, message: Message, exclude: str | None) -> None:
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
            self._send(peer, data)
        self.receiver.receive(message, exclude)

    def subscribe(self, topic: str) -> asyncio.Future[None] | None:
        told = [peer for peer in self.peers.values() if peer.link is not None and hasattr(peer.link, "transport")]
        asked = [(peer, self._ask(peer, INTEREST, pack(topic))) for peer in told]
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
            self._send(peer, data)

    async def counts(self, topics: list[str]) -> dict[str, int]:
        found = {topic: self.receiver.count(topic) for topic in topics}
        asked = [self._answer(peer, ASK_COUNTS, pack(*topics)) for peer in self.peers.values() if peer.link is not None]
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
        self._send(peer, frame(ANSWER, LONG.pack(number), *counts))

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

    def _owner(self, topic: str) -> Peer | None:
        """Return the peer that has the history of a topic, None for this node."""
        best = b"" if self.leaving or not self.owns else rating(self.receiver.name, topic)
        found = None
        for peer in self.peers.values():
            if peer.owns and (rate := rating(peer.name, topic)) > best:
                best, found = rate, peer
        return found

    def _store(
        self,
        message: Message,
        keep: Keep,
        exclude: str | None,
        done: Callable[[str | None], None],
        failed: Callable[[EngineDown], None],
        sender: Peer | None = None,
    ) -> None:
        owner = self._owner(message.topic)
        if owner is not None and owner is not sender:
            if owner.link is None or owner.link.full:
                failed(EngineDown("the worker that has the topic's history does not read"))
                return
            fields = LONG.pack(keep.size) + TIME.pack(keep.ttl) + pack(exclude) + pack_message(message)
            asked = self._ask(owner, STORE, fields)
            asked.add_done_callback(lambda each: settle(each, done, failed))
        elif self.handing:
            self.held.append(lambda: self._store(message, keep, exclude, done, failed, sender))
        else:
            kept = self.histories.add(message, keep)
            self._spread(kept, exclude)
            done(kept.id)

    def _take_store(self, peer: Peer, reader: Reader) -> None:
        number = reader.number()
        keep = Keep(reader.number(), TIME.unpack(reader.take(TIME.size))[0])
        exclude, message = reader.optional(), reader.message()

        def done(position: str | None) -> None:
            self._send(peer, frame(ANSWER, LONG.pack(number), pack(position)))

        self._store(message, keep, exclude, done, lambda _: done(None), peer)

    async def history(self, topic: str, since: str | None, only_position: bool = False) -> Recovery:
        await self.settled.wait()
        owner = self._owner(topic)
        if owner is None:
            return self.histories.recover(topic, since, only_position)
        answer = Reader(await self._answer(owner, ASK_HISTORY, pack(topic, since, "p" if only_position else None)))
        complete, position, messages = answer.number() == 1, answer.optional(), []
        while answer.at < len(answer.data):
            messages.append(answer.message())
        return Recovery(messages, complete, position)

    def _take_ask_history(self, peer: Peer, reader: Reader) -> None:
        number, topic, since, only = reader.number(), reader.text(), reader.optional(), reader.optional()
        owner = self._owner(topic)
        if topic in self.histories.topics or owner is None or owner is peer:
            self._answer_history(peer, number, self.histories.recover(topic, since, only is not None))
            return

        async def forward() -> None:  # to whom this node has just given it
            with contextlib.suppress(EngineDown):
                self._answer_history(peer, number, await self.history(topic, since, only is not None))

        self._later(forward())

    def _answer_history(self, peer: Peer, number: int, found: Recovery) -> None:
        messages = list(found.messages)
        while sum(each.size + 1024 for each in messages) > self.largest - FIELDS and messages:
            del messages[0]  # what fits into a frame
            found = found._replace(complete=False)
        parts = [LONG.pack(found.complete), pack(found.position), *map(pack_message, messages)]
        self._send(peer, frame(ANSWER, LONG.pack(number), *parts))

    def _take_owner(self, peer: Peer, reader: Reader) -> None:
        """A peer has become an owner: it gets what is now its own."""
        peer.owns = True
        if self.owns:
            self._give_others()
            self._send(peer, frame(HANDED))

    def _give_others(self) -> None:
        """Give the histories of others' topics to their owners."""
        for topic in list(self.histories.topics):
            self._give(topic)

    def _give(self, topic: str) -> asyncio.Future[bytes] | None:
        """Give the history of a topic to its owner."""
        owner = self._owner(topic)
        history = self.histories.topics.get(topic)
        if owner is None or history is None:
            return None
        del self.histories.topics[topic]
        left = max(history.expires - time.monotonic(), 0.0)
        messages: list[bytes] = []
        size = 0
        for message in reversed(history.messages):
            size += message.size + 1024
            if size > self.largest - FIELDS:
                break
            messages.insert(0, pack_message(message))
        fields = pack(topic, history.epoch, str(history.offset)) + TIME.pack(left)
        return self._ask(owner, HANDOVER, fields, *messages)

    def _take_handover(self, peer: Peer, reader: Reader) -> None:
        number, topic = reader.number(), reader.text()
        history = History()
        history.epoch, history.offset = reader.text(), int(reader.text())
        history.expires = time.monotonic() + TIME.unpack(reader.take(TIME.size))[0]
        while reader.at < len(reader.data):
            history.messages.append(reader.message())
        self.histories.take_over(topic, history)
        self._send(peer, frame(ANSWER, LONG.pack(number)))
        if self._owner(topic) not in (None, peer):
            self._give(topic)  # a node has become an owner that the giver did not know yet

    def _take_handed(self, peer: Peer, reader: Reader) -> None:
        self._handed_by(peer.name)

    def _handed_by(self, name: str) -> None:
        if name in self.handing:
            self.handing.discard(name)
            if not self.handing:
                self._all_handed()

    def _take_leaving(self, peer: Peer, reader: Reader) -> None:
        peer.owns = False
        peer.topics = set()
        peer.told.set()
        link, peer.link = peer.link, None
        if link is not None and hasattr(link, "transport"):
            link.transport.close()  # after what is on its way; it passes on what others have to have
        self._give_others()


def rating(node: str, topic: str) -> bytes:
    return hashlib.blake2b(f"{node} {topic}".encode(), digest_size=8).digest()


def settle(
    asked: asyncio.Future[bytes], done: Callable[[str | None], None], failed: Callable[[EngineDown], None]
) -> None:
    if asked.cancelled():
        return
    error = asked.exception()
    if error is not None:
        failed(EngineDown(str(error)))
        return
    position = Reader(asked.result()).optional()
    if position is None:
        failed(EngineDown("the worker that has the topic's history is gone"))
    else:
        done(position)


TAKERS: dict[int, Callable[[MeshEngine, Peer, Reader], None]] = {
    INTEREST: MeshEngine._take_interest,
    LOST: MeshEngine._take_lost,
    TOLD: MeshEngine._take_told,
    MESSAGE: MeshEngine._take_message,
    GAP: MeshEngine._take_gap,
    STORE: MeshEngine._take_store,
    ASK_HISTORY: MeshEngine._take_ask_history,
    ASK_COUNTS: MeshEngine._take_ask_counts,
    ANSWER: MeshEngine._take_answer,
    OWNER: MeshEngine._take_owner,
    HANDED: MeshEngine._take_handed,
    HANDOVER: MeshEngine._take_handover,
    LEAVING: MeshEngine._take_leaving,
    JOIN: MeshEngine._take_join,
    LEAVE: MeshEngine._take_leave,
}
