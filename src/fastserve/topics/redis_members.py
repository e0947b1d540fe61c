"""Who is in a topic, by Redis.

A topic has a hash with, for each member, the nodes that have connections of it, each with the time and its info. A node
renews its entries every RENEW_SECONDS; an entry that is MEMBER_SECONDS old no longer counts. Joins and leaves go by the
topic's channel, in a payload that begins with NUL and 1. A node that was asked to tell them also compares what it knows
with the hash, as often as it renews.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable
from typing import Any, Protocol

from fastserve.topics import presence
from fastserve.topics.engine import EngineDown, Receiver, quiet
from fastserve.topics.redis_scripts import JOIN, LEAVE, MEMBERS

RENEW_SECONDS = 10.0
MEMBER_SECONDS = 30.0
CHUNK = 500  # members of a script

logger = logging.getLogger("fastserve.error")


class Server(Protocol):
    """What Members ask of their engine."""

    receiver: Receiver
    up: bool

    @property
    def down(self) -> EngineDown: ...

    def ask(self, *words: Any) -> asyncio.Future[Any] | None: ...

    def channel(self, topic: str) -> bytes: ...

    def key(self, kind: bytes, topic: str) -> bytes: ...

    def later(self, work: Awaitable[Any]) -> None: ...


class Members:
    """The members of this node, and what it knows of others' in the topics that its receiver watches."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._own: dict[str, dict[str, str]] = {}  # by topic: members with their info
        self._known: dict[str, dict[str, str]] = {}  # of all nodes, by topic that is watched
        self._compared: set[str] = set()  # topics of which all members are known
        self._changed: dict[str, list[set[str]]] = {}  # for each hash asked for: who has joined or left since
        self._timer: presence.Timer | None = None

    def start(self) -> None:
        self._timer = presence.later(asyncio.get_running_loop(), RENEW_SECONDS, self._renew)

    def stop(self) -> None:
        """Leave in LEAVE_SECONDS: those who come back to another server by then have not left."""
        if self._timer is not None:
            self._timer.cancel()
        self.tell(MEMBER_SECONDS - presence.LEAVE_SECONDS)

    def join(self, topic: str, member: str, info: str) -> None:
        self._own.setdefault(topic, {})[member] = info
        self._tell(topic, [member])

    def leave(self, topic: str, member: str) -> None:
        members = self._own[topic]
        del members[member]
        if not members:
            del self._own[topic]
        words = (self._server.channel(topic), self._server.receiver.name, member)
        self._ask_quietly(LEAVE, topic, *words)  # while the server is away, it leaves by not being renewed

    async def of(self, topic: str) -> dict[str, str]:
        """Return the members of a topic on all nodes. Raises EngineDown."""
        server = self._server
        changed: set[str] = set()
        words = (server.key(b"members", topic), server.channel(topic), round(MEMBER_SECONDS * 1000))
        asked = server.ask("EVAL", MEMBERS, 1, *words) if server.up else None
        if asked is None:
            raise server.down
        changes = self._changed.setdefault(topic, [])
        changes.append(changed)
        try:
            found = [each.decode() for each in (await asked)[1:]]
        finally:
            changes[:] = [each for each in changes if each is not changed]
            if not changes:
                self._changed.pop(topic, None)
        members = dict(zip(found[::2], found[1::2], strict=True))
        if topic in server.receiver.watched():
            self._compare(topic, members, changed)
        return members

    def take(self, topic: str, payload: bytes) -> None:
        """Take a join or leave from the topic's channel."""
        try:
            what, member, info = json.loads(payload[2:])
            json.loads(info)
        except (ValueError, TypeError) as exc:
            logger.warning("topics: a message of %r that is not valid: %s", topic, exc)
            return
        receiver = self._server.receiver
        if topic not in receiver.watched():
            return
        for changed in self._changed.get(topic, ()):
            changed.add(member)
        known = self._known.setdefault(topic, {})
        if what == "join" and member not in known:
            known[member] = info
            receiver.joined(topic, member, info)
        elif what == "leave" and (known.pop(member, None) is not None or topic not in self._compared):
            receiver.left(topic, member, info)

    def tell(self, over: float = 0.0) -> None:
        """Write all members of this node into their hashes, as if that had been done `over` seconds ago."""
        for topic, members in self._own.items():
            self._tell(topic, list(members), over)

    def _tell(self, topic: str, names: list[str], over: float = 0.0) -> None:
        server, members = self._server, self._own[topic]
        first = (server.channel(topic), round(MEMBER_SECONDS * 1000), round(over * 1000), server.receiver.name)
        for at in range(0, len(names), CHUNK):
            words = [word for name in names[at : at + CHUNK] for word in (name, members[name])]
            self._ask_quietly(JOIN, topic, *first, *words)  # tell() is called when the server is back

    def _ask_quietly(self, script: bytes, topic: str, *words: Any) -> None:
        asked = self._server.ask("EVAL", script, 1, self._server.key(b"members", topic), *words)
        if asked is not None:
            quiet(asked)

    def _renew(self) -> None:
        self.start()
        self.tell()
        watched = set(self._server.receiver.watched())
        for topic in self._known.keys() - watched:
            del self._known[topic]
        self._compared &= watched
        for topic in watched:
            self._server.later(self._look(topic))

    async def _look(self, topic: str) -> None:
        with contextlib.suppress(OSError):
            await self.of(topic)

    def _compare(self, topic: str, members: dict[str, str], changed: set[str]) -> None:
        """Tell the receiver about members that it does not know, or no longer; not about those `changed` since."""
        receiver = self._server.receiver
        known = self._known.setdefault(topic, {})
        told = topic in self._compared
        self._compared.add(topic)
        for member in known.keys() - members.keys() - changed:
            info = known.pop(member)
            if told:
                receiver.left(topic, member, info)
        for member in members.keys() - known.keys() - changed:
            known[member] = members[member]
            if told:
                receiver.joined(topic, member, members[member])
