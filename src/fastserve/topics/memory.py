"""The engine within a process: all event loops of it, whichever server they are of."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

from fastserve._core.topics.hub import Hub, running_loop
from fastserve._core.topics.message import Message
from fastserve.topics.engine import Engine, Keep, Receiver, Recovery, Stored
from fastserve.topics.history import Histories
from fastserve.topics.presence import Roster


class Process:
    """What the memory engines of a process share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a listener may publish
        self.histories = Histories()
        self.roster = Roster()
        self.engines: list[MemoryEngine] = []
        self.sole: Hub | None = None  # of the only loop, which has all subscribers

    def publish(self, message: Message, keep: Keep | None, exclude: str | None) -> str | None:
        """Keep a message if that is wanted, and deliver it in each loop; called in any thread. Return its position."""
        with self.lock:  # which also holds the order of publishers together
            if keep is not None:
                message = self.histories.add(message, keep)
            loop = running_loop()
            for engine in self.engines:
                if engine.loop is loop:
                    engine.receiver.receive(message, exclude)
                else:
                    engine.call(engine.receiver.receive, message, exclude)
        return message.id

    def keep_engines(self, leaving: MemoryEngine | None = None) -> None:
        """Forget the engine that leaves, and those whose loop has ended without it, with their members."""
        ended = [each for each in self.engines if each is leaving or each.loop.is_closed()]
        self.set_engines([each for each in self.engines if each not in ended])
        for each in ended:
            for found in self.roster.lose(each.receiver.name):
                self.tell_left(*found)

    def set_engines(self, engines: list[MemoryEngine]) -> None:
        self.engines = engines
        self.sole = engines[0].hub if len(engines) == 1 else None

    def tell_left(self, topic: str, member: str, info: str) -> None:
        for engine in self.engines:
            engine.call(engine.receiver.left, topic, member, info)


PROCESS = Process()


class MemoryEngine(Engine):
    """Carries messages to the loops of this process."""

    features = frozenset({"history", "presence"})

    def __init__(self) -> None:
        self.receiver: Receiver
        self.loop: asyncio.AbstractEventLoop
        self.hub: Hub | None = None

    async def start(self, receiver: Receiver) -> None:
        self.start_in(receiver, asyncio.get_running_loop())

    def start_in(self, receiver: Receiver, loop: asyncio.AbstractEventLoop, hub: Hub | None = None) -> None:
        """Start at once; `hub` is what the receiver delivers to, if it does nothing else."""
        self.receiver = receiver
        self.loop = loop
        self.hub = hub
        with PROCESS.lock:
            PROCESS.keep_engines()
            PROCESS.set_engines([*PROCESS.engines, self])

    async def stop(self) -> None:
        with PROCESS.lock:
            PROCESS.keep_engines(self)
            if not PROCESS.engines:
                PROCESS.histories.topics.clear()

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function of the receiver in its thread."""
        if running_loop() is self.loop:
            function(*args)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(function, *args)

    def publish(self, message: Message, keep: Keep | None, exclude: str | None) -> Stored | None:
        position = PROCESS.publish(message, keep, exclude)
        return None if keep is None else done(self.loop, position)

    def subscribe(self, topic: str) -> None:
        return None

    def unsubscribe(self, topic: str) -> None:
        pass

    async def history(self, topic: str, since: str | None, only_position: bool = False) -> Recovery:
        with PROCESS.lock:
            return PROCESS.histories.recover(topic, since, only_position)

    async def counts(self, topics: list[str]) -> dict[str, int]:
        with PROCESS.lock:
            return {topic: sum(each.receiver.count(topic) for each in PROCESS.engines) for topic in topics}

    def join(self, topic: str, member: str, info: str) -> None:
        with PROCESS.lock:
            if PROCESS.roster.join(topic, member, self.receiver.name, info):
                for engine in PROCESS.engines:
                    engine.call(engine.receiver.joined, topic, member, info)

    def leave(self, topic: str, member: str) -> None:
        with PROCESS.lock:
            info = PROCESS.roster.leave(topic, member, self.receiver.name)
            if info is not None:
                PROCESS.tell_left(topic, member, info)

    async def members(self, topic: str) -> dict[str, str]:
        with PROCESS.lock:
            PROCESS.keep_engines()
            return PROCESS.roster.members(topic)


def done(loop: asyncio.AbstractEventLoop, position: str | None) -> Stored:
    future: Stored = loop.create_future()
    future.set_result(position)
    return future
