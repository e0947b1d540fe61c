"""Engines on their own: receivers that note what they are told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from support import PATIENCE

from fastserve._core.topics.message import Message
from fastserve.topics.engine import Engine, Keep


class Node:
    """A receiver of an engine."""

    def __init__(self, engine: Engine) -> None:
        self.name = os.urandom(8).hex()
        self.engine = engine
        self.topics: dict[str, int] = {}
        self.watching: set[str] = set()
        self.got: list[Any] = []
        self.changed = asyncio.Event()

    # As the engine sees it

    def receive(self, message: Message, exclude: str | None) -> None:
        if message.topic in self.topics:
            self._note(message.data if exclude is None else (message.data, exclude))

    def gap(self, topic: str) -> None:
        self._note(f"gap {topic}")

    def count(self, topic: str) -> int:
        return self.topics.get(topic, 0)

    def names(self) -> list[str]:
        return list(self.topics)

    def joined(self, topic: str, member: str, info: str) -> None:
        if topic in self.watching:
            self._note(f"{member} joined {topic}: {info}")

    def left(self, topic: str, member: str, info: str) -> None:
        if topic in self.watching:
            self._note(f"{member} left {topic}: {info}")

    def watched(self) -> list[str]:
        return list(self.watching)

    def _note(self, what: Any) -> None:
        self.got.append(what)
        self.changed.set()

    # As a test does

    async def subscribes(self, topic: str) -> None:
        self.topics[topic] = 1
        waited = self.engine.subscribe(topic)
        if waited is not None:
            await waited

    async def watches(self, topic: str) -> None:
        self.watching.add(topic)
        await self.subscribes(topic)
        await self.engine.members(topic)

    async def hears(self, *expected: Any) -> None:
        while len(self.got) < len(expected):
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), PATIENCE)
        assert self.got == list(expected)
        self.got.clear()

    async def keeps(self, topic: str, text: str, size: int = 10) -> str:
        stored = self.engine.publish(Message(topic, text), Keep(size, 60), None)
        assert stored is not None
        position = await stored
        assert position is not None
        return position


class Noting:
    """A transport that notes how much each call of write() is given."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.sizes: list[int] = []

    def write(self, data: bytes) -> None:
        self.sizes.append(len(data))
        self.transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


N = TypeVar("N", bound=Node)


@asynccontextmanager
async def started(made: Sequence[N]) -> AsyncIterator[list[N]]:
    """Start the engines of nodes one after the other; stop those that the block leaves in the list that it gets."""
    running = list(made)
    try:
        for node in running:
            await node.engine.start(node)
        yield running
    finally:
        for node in running:
            await node.engine.stop()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), PATIENCE))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # other tasks of this loop make it true
        await asyncio.sleep(0)
