"""Who is in a topic: members, each with the connections that it has on one event loop or several.

A member joins with its first connection, and leaves LEAVE_SECONDS after its last, wherever they are. Each loop tells
its engine of its own members; a roster holds together who is there by whom.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from fastserve.topics.engine import Engine

LEAVE_SECONDS = 5.0
LARGEST_INFO = 4096  # bytes of JSON


class Join(NamedTuple):
    """Somebody has become a member of a topic."""

    topic: str
    member: str
    info: dict[str, Any]


class Leave(NamedTuple):
    """Somebody is not a member of a topic any more; `info` is what it was last known by."""

    topic: str
    member: str
    info: dict[str, Any]


class Timer(Protocol):
    """What later() returns."""

    def cancel(self) -> None:
        """Do not call it."""


def later(loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[..., object], *args: Any) -> Timer:
    """Call a function in the thread of a loop after a time."""
    return loop.call_later(seconds, call, *args)


def text_of(info: Mapping[str, Any] | None) -> str:
    """Return what a member is known by in JSON. Raises TypeError, ValueError."""
    if not (info is None or isinstance(info, Mapping)):
        raise TypeError(f"info: expected a dict, not {type(info).__name__}")
    text = json.dumps(dict(info or {}), ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > LARGEST_INFO:
        raise ValueError(f"info: expected at most {LARGEST_INFO} bytes of JSON, not {len(text.encode())}")
    return text


class Roster:
    """Members of topics, with the nodes that have connections of them and what each knows them by, in JSON."""

    def __init__(self) -> None:
        self.topics: dict[str, dict[str, dict[str, str]]] = {}

    def join(self, topic: str, member: str, node: str, info: str) -> bool:
        """Note that a node has a member; true if none had it before."""
        holders = self.topics.setdefault(topic, {}).setdefault(member, {})
        new = not holders
        holders.pop(node, None)
        holders[node] = info
        return new

    def leave(self, topic: str, member: str, node: str) -> str | None:
        """Note that a node has a member no more; return its info if none has."""
        members = self.topics.get(topic, {})
        info = members.get(member, {}).pop(node, None)
        if info is None or members[member]:
            return None
        del members[member]
        if not members:
            del self.topics[topic]
        return info

    def lose(self, node: str) -> list[tuple[str, str, str]]:
        """Note that a node is gone; return topic, member and info of those that were there alone."""
        found = []
        for topic, member, _ in list(self.of(node)):
            info = self.leave(topic, member, node)
            if info is not None:
                found.append((topic, member, info))
        return found

    def of(self, node: str) -> Iterator[tuple[str, str, str]]:
        """Yield topic, member and info of those that a node has."""
        for topic, members in self.topics.items():
            for member, holders in members.items():
                if node in holders:
                    yield topic, member, holders[node]

    def members(self, topic: str) -> dict[str, str]:
        """Return who is there, each with the info of its newest connection."""
        return {member: [*holders.values()][-1] for member, holders in self.topics.get(topic, {}).items()}


class Local:
    """A member of a topic on this loop."""

    __slots__ = ("connections", "info", "leaving")

    def __init__(self, info: str) -> None:
        self.info = info
        self.connections = 0
        self.leaving: Timer | None = None


class Presence:
    """The members that have connections of this loop, and what is to be told of any."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        self._loop = loop
        self._engine = engine
        self._members: dict[tuple[str, str], Local] = {}
        self._watchers: dict[str, list[Callable[[Join | Leave], object]]] = {}

    def enter(self, topic: str, member: str, info: str) -> None:
        """Count a connection of a member."""
        local = self._members.get((topic, member))
        if local is None or local.info != info:
            self._engine.join(topic, member, info)
        if local is None:
            local = self._members[topic, member] = Local(info)
        elif local.leaving is not None:
            local.leaving.cancel()
            local.leaving = None
        local.info = info
        local.connections += 1

    def exit(self, topic: str, member: str) -> None:
        """Undo enter(); the member leaves after a while."""
        local = self._members.get((topic, member))
        if local is None:
            return  # the node has stopped before the connection
        local.connections -= 1
        if local.connections == 0 and not self._loop.is_closed():
            local.leaving = later(self._loop, LEAVE_SECONDS, self._leave, topic, member)

    def _leave(self, topic: str, member: str) -> None:
        del self._members[topic, member]
        self._engine.leave(topic, member)

    def stop(self) -> None:
        """Leave it to the engine when those who are here leave."""
        for local in self._members.values():
            if local.leaving is not None:
                local.leaving.cancel()
        self._members.clear()

    def watch(self, topic: str, watcher: Callable[[Join | Leave], object]) -> None:
        """Call a function with each that joins or leaves."""
        self._watchers.setdefault(topic, []).append(watcher)

    def unwatch(self, topic: str, watcher: Callable[[Join | Leave], object]) -> None:
        """Undo watch()."""
        watchers = self._watchers.get(topic, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            self._watchers.pop(topic, None)

    def watched(self) -> list[str]:
        return list(self._watchers)

    def tell(self, kind: type[Join | Leave], topic: str, member: str, info: str) -> None:
        for watcher in list(self._watchers.get(topic, ())):
            watcher(kind(topic, member, json.loads(info)))
