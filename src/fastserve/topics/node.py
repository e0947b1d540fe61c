"""The topics of one event loop: its subscribers, and the engine that connects them with those elsewhere.

A node is made with the first use of topics in a loop, or by the server as it starts if the application has imported
fastserve.topics. What a server's options say of topics is found by its loop (fastserve.serving.by_loop); a
loop that no server of ours runs in has the memory of its process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from fastserve._core.topics.hub import Hub
from fastserve._core.topics.message import Message
from fastserve._core.topics.subscriber import Subscriber
from fastserve.serving import by_loop
from fastserve.topics.engine import FEATURES, Engine, EngineDown, Keep, Stored, Unsupported
from fastserve.topics.engines import engine_for
from fastserve.topics.memory import PROCESS, MemoryEngine
from fastserve.topics.presence import Join, Leave, Presence

SUBSCRIBE_SECONDS = 5.0  # that a subscription waits for the engine; it goes on without it
MAX_SIZE = 1 << 20
T = TypeVar("T")

logger = logging.getLogger("fastserve.error")
nodes: dict[int, Node] = {}  # by the id of their loop
lock = threading.Lock()
required: set[str] = set()  # features that an engine has to have


class Known:
    """A connection that is not of the core, or known by more than one key."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.subscriptions = 0


class Node:
    """The topics of a loop; its methods are called in that loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine | None = None) -> None:
        config = by_loop.options_of(loop)
        self.loop = loop
        self.name = os.urandom(8).hex()
        self.max_size = MAX_SIZE if config is None else config.topics_max_size
        if config is None:
            self.hub = Hub(self._changed, gone=self._gone, loop=loop)
        else:
            bounds = config.topics_queue, config.topics_queue_size
            self.hub = Hub(self._changed, *bounds, self._gone, loop=loop, max_size=self.max_size)
        self.engine: Engine = engine_for(config) if engine is None else engine
        self.presence = Presence(loop, self.engine)
        self.by_send: dict[Any, Subscriber | Known] = {}  # connections by what publish(exclude=) is given
        self.unready: dict[str, asyncio.Future[None]] = {}  # topics that the engine does not carry yet
        self.lost = 0  # messages that the engine did not take
        self._starting: asyncio.Future[None] | None = None
        if isinstance(self.engine, MemoryEngine):
            self.engine.start_in(self, loop, self.hub)
            self._starting = loop.create_future()
            self._starting.set_result(None)

    async def started(self) -> None:
        """Return once the engine has started; the first call starts it. Raises Unsupported."""
        self.check()
        if self._starting is None:
            self._starting = asyncio.ensure_future(self.engine.start(self))
        await asyncio.shield(self._starting)

    async def stop(self) -> None:
        """Stop the engine, and forget the node."""
        with lock:
            nodes.pop(id(self.loop), None)
        self.presence.stop()
        if self._starting is not None:
            if not self._starting.done():
                self._starting.cancel()
                await asyncio.wait([self._starting])
            await self.engine.stop()

    # From the hub

    def _changed(self, topic: str, there: bool) -> None:
        if not there:
            self.unready.pop(topic, None)
            self.engine.unsubscribe(topic)
            return
        waited = self.engine.subscribe(topic)
        if waited is not None:
            ready = asyncio.ensure_future(waited)
            self.unready[topic] = ready
            ready.add_done_callback(lambda _: self._ready(topic, ready))

    def _gone(self, connection: Subscriber) -> None:
        if self.by_send.get(connection.key) is connection:
            del self.by_send[connection.key]

    def _ready(self, topic: str, ready: asyncio.Future[None]) -> None:
        if self.unready.get(topic) is ready:
            del self.unready[topic]
        if not ready.cancelled():
            ready.exception()  # an engine that is away subscribes to it when it is back

    async def carried(self, topics: Iterable[str]) -> None:
        """Return once the engine carries these topics, or after SUBSCRIBE_SECONDS."""
        waited = [self.unready[topic] for topic in topics if topic in self.unready]
        if waited:
            await asyncio.wait(waited, timeout=SUBSCRIBE_SECONDS)

    # From the engine

    def receive(self, message: Message, exclude: str | None) -> None:
        """Deliver a message to the subscribers of this loop."""
        number = 0
        if exclude is not None:
            name, _, text = exclude.partition(":")
            number = int(text) if name == self.name else 0
        self.hub.deliver(message, number)

    def gap(self, topic: str) -> None:
        """Tell the subscribers of a topic that messages are lost."""
        self.hub.gap(topic)

    def count(self, topic: str) -> int:
        return self.hub.count(topic)

    def names(self) -> Iterable[str]:
        return list(self.hub.topics)

    def joined(self, topic: str, member: str, info: str) -> None:
        self.presence.tell(Join, topic, member, info)

    def left(self, topic: str, member: str, info: str) -> None:
        self.presence.tell(Leave, topic, member, info)

    def watched(self) -> Iterable[str]:
        return self.presence.watched()

    # From the application

    def check(self) -> None:
        """Raise Unsupported where the engine has not what is required."""
        missing = required - self.engine.features
        if missing:
            raise Unsupported(f"{type(self.engine).__name__} has no {' and no '.join(sorted(missing))}")

    def check_presence(self) -> None:
        """Raise Unsupported where the engine does not know who is in a topic."""
        if "presence" not in self.engine.features:
            raise Unsupported(
                f"{type(self.engine).__name__} does not know members: member= and presence= need another engine"
            )

    def publish(self, message: Message, keep: Keep | None, exclude: str | None) -> Stored | None:
        """Publish, and return what Engine.publish() does."""
        self.hub.published += 1
        if self._starting is None:
            self._starting = asyncio.ensure_future(self.engine.start(self))
        if self._starting.done():
            return self.engine.publish(message, keep, exclude)
        return asyncio.ensure_future(self._publish_later(message, keep, exclude))

    async def _publish_later(self, message: Message, keep: Keep | None, exclude: str | None) -> str | None:
        await self.started()
        waited = self.engine.publish(message, keep, exclude)
        return None if waited is None else await waited

    def send(self, message: Message, keep: Keep | None, exclude: str | None) -> None:
        """Publish, and log it if the message is lost."""
        waited = self.publish(message, keep, exclude)
        if waited is not None:
            waited.add_done_callback(self._stored)

    def _stored(self, stored: Stored) -> None:
        if not stored.cancelled() and stored.exception() is not None:
            self.lost += 1
            logger.error("topics: a message is lost: %s", stored.exception())


def node_of(loop: asyncio.AbstractEventLoop) -> Node:
    """Return the node of a loop, in its thread."""
    node = nodes.get(id(loop))
    if node is None or node.loop is not loop:
        with lock:
            for key in [key for key, each in list(nodes.items()) if each.loop.is_closed()]:
                del nodes[key]
            node = nodes[id(loop)] = Node(loop)
    return node


def here() -> Node:
    """Return the node of the running loop. Raises RuntimeError outside of one."""
    return node_of(asyncio.get_running_loop())


def require(*features: str) -> None:
    """Let servers start only with an engine that has all of these features, which the application needs.

    They are "history", "presence", "processes" (messages reach the other workers) and "hosts". Call it where the
    application is imported, or in its lifespan. Raises ValueError, and Unsupported where topics are in use already.
    """
    for feature in features:
        if feature not in FEATURES:
            raise ValueError(f"expected {', '.join(FEATURES)}, not {feature!r}")
    required.update(features)
    loop = asyncio._get_running_loop()
    if loop is not None and id(loop) in nodes:
        node_of(loop).check()


def any_node() -> Node | None:
    """Return a node of this process, rather that of a server than another."""
    found = None
    for node in list(nodes.values()):
        if not node.loop.is_closed():
            found = node
            if node.loop in by_loop.SERVING:
                break
    return found


def publish(message: Message, keep: Keep | None, exclude: str | None) -> None:
    """Publish from any thread, without waiting."""
    loop = asyncio._get_running_loop()
    if loop is not None and (id(loop) in nodes or loop in by_loop.SERVING or not nodes):
        node_of(loop).send(message, keep, exclude)
        return
    node = any_node()
    if node is None or isinstance(node.engine, MemoryEngine):
        PROCESS.publish(message, keep, exclude)
        return
    try:
        node.loop.call_soon_threadsafe(node.send, message, keep, exclude)
    except RuntimeError:
        raise EngineDown("the server has stopped") from None


async def ask(work: Callable[[Node], Awaitable[T]]) -> T:
    """Await `work(node)` in the loop of a node: that of the running loop, else one of this process."""
    loop = asyncio.get_running_loop()
    node = node_of(loop) if id(loop) in nodes or loop in by_loop.SERVING else any_node() or node_of(loop)

    async def started() -> T:
        await node.started()
        return await work(node)

    if node.loop is loop:
        return await started()
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(started(), node.loop))


async def serve(loop: asyncio.AbstractEventLoop) -> None:
    """Have the node of a server's loop ready before the server is."""
    await node_of(loop).started()


async def stop(loop: asyncio.AbstractEventLoop) -> None:
    """Stop the node of a server's loop, if there is one and no other server runs there."""
    node = nodes.get(id(loop))
    if len(by_loop.SERVING.get(loop, ())) > 1:
        return
    if node is not None and node.loop is loop:
        await node.stop()
