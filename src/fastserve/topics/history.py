"""The messages that are kept of topics, in the memory of one process, with their positions.

A position is `epoch:offset`. Offsets count the messages of a topic from 1; an epoch is the life of a history, so a
position of another one says nothing about what is missing.
"""

from __future__ import annotations

import os
import time
from collections import deque

from fastserve._core.topics.message import Message
from fastserve.topics.engine import Keep, Recovery

SWEEP_SECONDS = 10.0  # between two searches for histories that are over


class History:
    """That of one topic."""

    __slots__ = ("epoch", "expires", "messages", "offset")

    def __init__(self) -> None:
        self.epoch = os.urandom(4).hex()
        self.offset = 0
        self.messages: deque[Message] = deque()
        self.expires = 0.0

    @property
    def position(self) -> str:
        return f"{self.epoch}:{self.offset}"


class Histories:
    """Those of all topics of a process."""

    def __init__(self) -> None:
        self.topics: dict[str, History] = {}
        self._swept = 0.0

    def add(self, message: Message, keep: Keep) -> Message:
        """Keep a message; return it with its position as id."""
        now = time.monotonic()
        if now - self._swept > SWEEP_SECONDS:
            self._swept = now
            for topic in [topic for topic, each in self.topics.items() if each.expires <= now]:
                del self.topics[topic]
        history = self._of(message.topic, now) or self.topics.setdefault(message.topic, History())
        history.offset += 1
        kept = Message(message.topic, message.data, history.position, message.event)
        history.messages.append(kept)
        while len(history.messages) > keep.size:
            history.messages.popleft()
        history.expires = now + keep.ttl
        return kept

    def _of(self, topic: str, now: float) -> History | None:
        history = self.topics.get(topic)
        if history is not None and history.expires <= now:
            del self.topics[topic]
            return None
        return history

    def take_over(self, topic: str, history: History) -> None:
        """Have a history that another process kept, before what there may be of its topic."""
        own = self.topics.get(topic)
        if own is None:
            self.topics[topic] = history
        else:
            own.messages.extendleft(reversed(history.messages))

    def recover(self, topic: str, since: str | None, only_position: bool) -> Recovery:
        """Return what Engine.history() does."""
        history = self._of(topic, time.monotonic())
        if history is None:
            return Recovery([], since is None, None)
        if only_position:
            return Recovery([], True, history.position)
        messages = list(history.messages)
        if since is None:
            return Recovery(messages, True, history.position)
        epoch, offset = parsed(since)
        missing = history.offset - offset
        if epoch == history.epoch and 0 <= missing <= len(messages):
            found = messages[len(messages) - missing :]
            if not found or parsed(found[0].id or "")[0] == epoch:  # else it would be of one that it has taken over
                return Recovery(found, True, history.position)
        for index in range(len(messages) - 1, -1, -1):  # of an epoch that it has taken over
            if messages[index].id == since:
                return Recovery(messages[index + 1 :], True, history.position)
        return Recovery(messages, False, history.position)


def parsed(position: str) -> tuple[str, int]:
    """Return epoch and offset of a position, ("", 0) for what is not one: clients send it."""
    epoch, _, offset = position.partition(":")
    if epoch and offset.isascii() and offset.isdigit() and len(offset) < 19:
        return epoch, int(offset)
    return "", 0


def is_after(position: str | None, other: str | None) -> bool:
    """Whether a message at `position` comes after `other`, as far as one history says; those without one do."""
    if position is None or other is None:
        return True
    epoch, offset = parsed(position)
    other_epoch, other_offset = parsed(other)
    return epoch != other_epoch or offset > other_offset
