"""What carries messages from where they are published to the event loops that have subscribers.

An engine is a class with the five verbs of `Engine`: publish, subscribe, unsubscribe, history, counts; and, where it
knows who is in a topic, join, leave and members. `--topics module:Class` names one. It belongs to one event loop, whose
`Receiver` it is given, and is used in that loop's thread alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, NamedTuple, Protocol, TypeAlias

from fastserve._core.topics.message import Message


class EngineDown(ConnectionError):
    """The engine did not take a message, or did not answer."""


class Unsupported(RuntimeError):
    """The engine cannot do what an application asks for."""


class Keep(NamedTuple):
    """How much of a topic is kept for those that come later."""

    size: int  # messages, at least 1
    ttl: float  # seconds after the last message with a history


class Recovery(NamedTuple):
    """What a topic had when it was asked for."""

    messages: list[Message]  # each with its position as id
    complete: bool  # nothing is missing since the position that was asked for
    position: str | None  # of the newest message, None without a history


# What require() can ask for: messages are kept, members are known, messages reach other processes, and other hosts.
FEATURES = ("history", "presence", "processes", "hosts")

Stored: TypeAlias = "asyncio.Future[str | None]"


class Receiver(Protocol):
    """What an engine tells."""

    name: str  # of this loop, unlike that of any other

    def receive(self, message: Message, exclude: str | None) -> None:
        """A message has come for the subscribers of its topic, but for the one that `exclude` stands for."""

    def gap(self, topic: str) -> None:
        """Messages of a topic are lost."""

    def count(self, topic: str) -> int:
        """Return how many subscribers a topic has here."""

    def names(self) -> Iterable[str]:
        """Return the topics that have subscribers here."""

    def joined(self, topic: str, member: str, info: str) -> None:
        """A member has joined a topic, on whichever loop."""

    def left(self, topic: str, member: str, info: str) -> None:
        """A member has left a topic, on all loops."""

    def watched(self) -> Iterable[str]:
        """Return the topics of which joined() and left() are of use here."""


class Engine:
    """The base of engines; this one carries nothing."""

    # Of FEATURES what it has. With "presence" it has the three verbs that say who is in a topic.
    features: frozenset[str] = frozenset({"history"})

    async def start(self, receiver: Receiver) -> None:
        """Begin to carry messages to this receiver. Raises EngineDown where that can never succeed."""

    async def stop(self) -> None:
        """Let go of everything, after what has been published."""

    def publish(self, message: Message, keep: Keep | None, exclude: str | None) -> Stored | None:
        """Carry a message to all receivers, the own one included; never block.

        The future that is returned gives the message's position once the engine has it, None without a history, or
        EngineDown; it is logged if nobody waits for it. None says that there is nothing to wait for.
        """
        raise NotImplementedError

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        """Carry the messages of a topic to the receiver from now on; what is returned is done once that is so."""
        raise NotImplementedError

    def unsubscribe(self, topic: str) -> None:
        """Undo subscribe()."""
        raise NotImplementedError

    async def history(self, topic: str, since: str | None, only_position: bool = False) -> Recovery:
        """Return the messages that are kept of a topic, those after the position `since` if that is not None.

        Raises EngineDown.
        """
        raise NotImplementedError

    async def counts(self, topics: list[str]) -> dict[str, int]:
        """Return how many subscribers topics have in all. Raises EngineDown."""
        raise NotImplementedError

    # Optional

    def join(self, topic: str, member: str, info: str) -> None:
        """Note that the receiver has connections of a member, who is known by `info`, a JSON text; never block.

        It is called again where the info changes. receiver.joined() is called, on all loops, if no loop had the member.
        """
        raise NotImplementedError

    def leave(self, topic: str, member: str) -> None:
        """Undo join(); receiver.left() is called, on all loops, if no loop has the member any more."""
        raise NotImplementedError

    async def members(self, topic: str) -> dict[str, str]:
        """Return who is in a topic, each with its info. Raises EngineDown."""
        raise NotImplementedError


def quiet(future: asyncio.Future[Any]) -> None:
    """Do not report how a future ends that nobody may wait for."""
    future.add_done_callback(lambda each: each.cancelled() or each.exception())
