"""The engine within a process: all event loops of it, whichever server they are of."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from fastserve._core.topics.message import Message
from fastserve.topics.engine import Engine, Keep, Receiver, Recovery, Stored
from fastserve.topics.history import Histories


class Process:
    """What the memory engines of a process share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a listener may publish
        self.histories = Histories()
        self.engines: list[MemoryEngine] = []

    def publish(self, message: Message, keep: Keep | None, exclude: str | None) -> str | None:
        """Keep a message if that is wanted, and deliver it in each loop; called in any thread. Return its position."""
        with self.lock:  # which also holds the order of publishers together
            if keep is not None:
                message = self.histories.add(message, keep)
            for engine in self.engines:
                engine.hand_over(message, exclude)
        return message.id


PROCESS = Process()


class MemoryEngine(Engine):
    """Carries messages to the loops of this process."""

    def __init__(self) -> None:
        self.receiver: Receiver
        self.loop: asyncio.AbstractEventLoop

    async def start(self, receiver: Receiver) -> None:
        self.start_in(receiver, asyncio.get_running_loop())

    def start_in(self, receiver: Receiver, loop: asyncio.AbstractEventLoop) -> None:
        self.receiver = receiver
        self.loop = loop
        with PROCESS.lock:
            PROCESS.engines = [each for each in PROCESS.engines if not each.loop.is_closed()]
            PROCESS.engines.append(self)

    async def stop(self) -> None:
        with PROCESS.lock:
            PROCESS.engines = [each for each in PROCESS.engines if each is not self and not each.loop.is_closed()]
            if not PROCESS.engines:
                PROCESS.histories.topics.clear()

    def hand_over(self, message: Message, exclude: str | None) -> None:
        if asyncio._get_running_loop() is self.loop:
            self.receiver.receive(message, exclude)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self.receiver.receive, message, exclude)

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


def done(loop: asyncio.AbstractEventLoop, position: str | None) -> Stored:
    future: Stored = loop.create_future()
    future.set_result(position)
    return future
