"""The histories of a mesh, each with one owner among its nodes.

A topic's owner is the node that rates highest for the topic's name, among those that are ready (rendezvous hashing). A
node that becomes an owner is given the histories of its topics by the nodes that had them, and holds back what is to be
stored until all of these are done. A node that leaves waits for that as well, and gives its histories away first.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from fastserve._core.topics.message import Message
from fastserve.topics.engine import EngineDown, Keep, Receiver, Recovery
from fastserve.topics.history import Histories, History
from fastserve.topics.mesh_peers import ANSWER, ASK_HISTORY, HANDED, HANDOVER, OWNER, STORE, Peer, frame
from fastserve.topics.wire import LONG, Reader, pack, pack_message

HANDOVER_SECONDS = 1.0  # for the new owner of a history to take it
OVERHEAD = 1024  # bytes that are allowed for a message besides its data
RETURNED = ""  # in place of a position, for a node that knows by then who else has the history
FORWARDED = 2  # in place of whether a history is complete, for the same

TIME = struct.Struct(">d")


class Node(Protocol):
    """What the histories ask of their node."""

    receiver: Receiver
    leaving: bool
    left: bool  # it has told all others that it leaves
    largest_message: int

    @property
    def peers(self) -> Mapping[str, Peer]: ...

    def ask(self, peer: Peer, kind: int, *parts: bytes) -> asyncio.Future[bytes]: ...

    async def reply(self, peer: Peer, kind: int, *parts: bytes) -> bytes: ...

    def spread(self, message: Message, exclude: str | None) -> None: ...

    def later(self, work: Awaitable[Any]) -> None: ...


class OwnedHistories:
    """The histories that this node owns, and the way to those of others."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.kept = Histories()
        self.owns = False
        self.handing: set[str] = set()  # peers that may still have histories of ours
        self.settled = asyncio.Event()  # there are none
        self.settled.set()
        self.held: list[Callable[[], None]] = []  # what waits for them

    def become_owner(self) -> None:
        self.owns = True
        for peer in self.node.peers.values():
            if peer.owns and peer.told.is_set():
                self.handing.add(peer.name)
            peer.write(frame(OWNER))
        if self.handing:
            self.settled.clear()
            asyncio.get_running_loop().call_later(HANDOVER_SECONDS, self.all_handed)

    def all_handed(self) -> None:
        self.handing.clear()
        self.settled.set()
        held, self.held = self.held, []
        for call in held:
            call()

    def owner(self, topic: str, other_than: Peer | None = None) -> Peer | None:
        """Return the peer that has the history of a topic, None for this node."""
        best = b"" if self.node.leaving or not self.owns else rating(self.node.receiver.name, topic)
        found = None
        for peer in self.node.peers.values():
            if peer.owns and peer is not other_than and (rate := rating(peer.name, topic)) > best:
                best, found = rate, peer
        return found

    def store(
        self,
        message: Message,
        keep: Keep,
        exclude: str | None,
        done: Callable[[str | None], None],
        failed: Callable[[EngineDown], None],
        other_than: Peer | None = None,
    ) -> None:
        """Store a message with the owner of its history, which is not `other_than`."""
        owner = self.owner(message.topic, other_than)
        if owner is not None:
            if owner.link is None or owner.link.full:
                failed(EngineDown("the worker that has the topic's history does not read"))
                return
            fields = LONG.pack(keep.size) + TIME.pack(keep.ttl) + pack(exclude) + pack_message(message)
            asked = self.node.ask(owner, STORE, fields)
            again = functools.partial(self.store, message, keep, exclude, done, failed, owner)
            asked.add_done_callback(lambda each: settle(each, done, failed, again))
        elif not self.owns:
            failed(EngineDown("no server of the directory keeps histories"))
        elif self.handing:
            self.held.append(lambda: self.store(message, keep, exclude, done, failed, other_than))
        else:
            kept = self.kept.add(message, keep)
            self.node.spread(kept, exclude)
            done(kept.id)

    def take_store(self, peer: Peer, reader: Reader) -> None:
        number = reader.number()
        keep = Keep(reader.number(), TIME.unpack(reader.take(TIME.size))[0])
        exclude, message = reader.optional(), reader.message()

        def done(position: str | None) -> None:
            peer.write(frame(ANSWER, LONG.pack(number), pack(position)))

        if self.node.left or (self.node.leaving and self.owner(message.topic) is peer):
            done(RETURNED)  # it has not heard yet that this node leaves
        else:
            self.store(message, keep, exclude, done, lambda _: done(None), peer)

    async def recover(self, topic: str, since: str | None, only_position: bool = False) -> Recovery:
        await self.settled.wait()
        owner = self.owner(topic)
        while owner is not None:
            question = pack(topic, since, "p" if only_position else None)
            answer = Reader(await self.node.reply(owner, ASK_HISTORY, question))
            if topic in self.kept.topics:  # it was given to this node before the question came
                break
            state = answer.number()
            if state == FORWARDED:
                owner = self.owner(topic, owner)
                continue
            position, messages = answer.optional(), []
            while answer.at < len(answer.data):
                messages.append(answer.message())
            return Recovery(messages, state == 1, position)
        return self.kept.recover(topic, since, only_position)

    def take_ask_history(self, peer: Peer, reader: Reader) -> None:
        number, topic, since, only = reader.number(), reader.text(), reader.optional(), reader.optional()
        owner = self.owner(topic)
        if self.node.left and owner is not None:
            peer.write(frame(ANSWER, LONG.pack(number), LONG.pack(FORWARDED)))
            return
        if topic in self.kept.topics or owner is None or owner is peer:
            self._answer_history(peer, number, self.kept.recover(topic, since, only is not None))
            return

        async def forward() -> None:  # to whom this node has just given it
            with contextlib.suppress(EngineDown):
                self._answer_history(peer, number, await self.recover(topic, since, only is not None))

        self.node.later(forward())

    def _answer_history(self, peer: Peer, number: int, found: Recovery) -> None:
        messages = list(found.messages)
        while sum(each.size + OVERHEAD for each in messages) > self.node.largest_message and messages:
            del messages[0]  # what fits into a frame
            found = found._replace(complete=False)
        parts = [LONG.pack(found.complete), pack(found.position), *map(pack_message, messages)]
        peer.write(frame(ANSWER, LONG.pack(number), *parts))

    def take_owner(self, peer: Peer, reader: Reader) -> None:
        """A peer has become an owner: it gets what is now its own."""
        peer.owns = True
        if self.owns:
            self.give_others()
            peer.write(frame(HANDED))

    def give_others(self) -> None:
        """Give the histories of others' topics to their owners."""
        for topic in list(self.kept.topics):
            self.give(topic)

    def give_all(self) -> list[asyncio.Future[bytes]]:
        """Give all histories away; return the futures of their new owners' replies."""
        given = [self.give(topic) for topic in list(self.kept.topics)]
        return [each for each in given if each is not None]

    def give(self, topic: str) -> asyncio.Future[bytes] | None:
        """Give the history of a topic to its owner."""
        owner = self.owner(topic)
        history = self.kept.topics.get(topic)
        if owner is None or history is None:
            return None
        del self.kept.topics[topic]
        left = max(history.expires - time.monotonic(), 0.0)
        messages: list[bytes] = []
        size = 0
        for message in reversed(history.messages):
            size += message.size + OVERHEAD
            if size > self.node.largest_message:
                break
            messages.insert(0, pack_message(message))
        fields = pack(topic, history.epoch, str(history.offset)) + TIME.pack(left)
        return self.node.ask(owner, HANDOVER, fields, *messages)

    def take_handover(self, peer: Peer, reader: Reader) -> None:
        number, topic = reader.number(), reader.text()
        history = History()
        history.epoch, history.offset = reader.text(), int(reader.text())
        history.expires = time.monotonic() + TIME.unpack(reader.take(TIME.size))[0]
        while reader.at < len(reader.data):
            history.messages.append(reader.message())
        self.kept.take_over(topic, history)
        peer.write(frame(ANSWER, LONG.pack(number)))
        if self.node.leaving or self.owner(topic) is not peer:
            self.give(topic)  # a node has become an owner that the giver did not know yet, or this one is none any more

    def take_handed(self, peer: Peer, reader: Reader) -> None:
        self.handed_by(peer.name)

    def handed_by(self, name: str) -> None:
        if name in self.handing:
            self.handing.discard(name)
            if not self.handing:
                self.all_handed()


def rating(node: str, topic: str) -> bytes:
    return hashlib.blake2b(f"{node} {topic}".encode(), digest_size=8).digest()


def settle(
    asked: asyncio.Future[bytes],
    done: Callable[[str | None], None],
    failed: Callable[[EngineDown], None],
    again: Callable[[], None],
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
    elif position == RETURNED:
        again()
    else:
        done(position)
