"""Publishing from coroutines, threads and other programs, and what can be asked of topics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from fastserve._core.metrics import SCALAR_CELLS, Metrics
from fastserve._core.topics.hub import running_loop
from fastserve._core.topics.message import Message
from fastserve.topics import node as nodes
from fastserve.topics.checks import check_size, keep_of, messages_of, name_of
from fastserve.topics.engine import EngineDown, Recovery, Unsupported
from fastserve.topics.memory import PROCESS
from fastserve.topics.node import MAX_SIZE, Node
from fastserve.topics.subscription import Subscription


def publish(
    topics: str | Iterable[str],
    data: str | bytes,
    *,
    event: str | None = None,
    history: int = 0,
    ttl: float | None = None,
    exclude: Any = None,
) -> None:
    """Send `data`, text or bytes, to all that are subscribed to `topics`: a name or several. It never waits.

    It may be called in coroutines and in any thread. `event` is the type of the server-sent event. With `history` that
    many messages of the topic are kept, until `ttl` seconds (by default 300) after the last. `exclude` is a WebSocket,
    `send` or Subscription that does not get it: the publisher's own. Raises TypeError and ValueError.
    """
    if event is None and exclude is None and history == 0 and ttl is None:
        hub = PROCESS.sole
        if hub is not None and hub.publish(topics, data):  # the same in fewer steps, for there may be very many
            return
    keep = None if history == 0 and ttl is None else keep_of(history, ttl)
    token = None if exclude is None else excluded(exclude)
    loop = running_loop()
    node = None if loop is None else nodes.nodes.get(id(loop))
    if node is not None and node.loop is loop and type(topics) is str and topics in node.hub.topics:
        message = Message(topics, data, None, event)
        check_size(message, node.max_size)
        node.send(message, keep, token)
        return
    for message in messages_of(topics, data, event, limit()):
        nodes.publish(message, keep, token)


async def publish_stored(
    topic: str,
    data: str | bytes,
    *,
    history: int,
    ttl: float | None = None,
    event: str | None = None,
    exclude: Any = None,
) -> str:
    """Do as publish(), and return the message's position once the engine has stored it.

    Raises EngineDown, and Unsupported where the engine keeps no histories; the message is not sent then.
    """
    topic = name_of(topic)
    keep = keep_of(history, ttl)
    if keep is None:
        raise ValueError("publish_stored() needs a history of at least 1 message")
    [message] = messages_of(topic, data, event, limit())
    token = excluded(exclude)

    async def store(node: Node) -> str | None:
        if "history" not in node.engine.features:
            raise Unsupported(f"{type(node.engine).__name__} keeps no histories: publish_stored() needs another engine")
        waited = node.publish(message, keep, token)
        return None if waited is None else await waited

    position = await nodes.ask(store)
    if position is None:
        raise EngineDown("the engine has not stored the message")
    return position


async def count(topic: str) -> int:
    """Return how many subscribers a topic has, on all workers and hosts. Raises EngineDown."""
    topic = name_of(topic)

    async def ask(node: Node) -> dict[str, int]:
        return await node.engine.counts([topic])

    return (await nodes.ask(ask))[topic]


async def members(topic: str) -> dict[str, dict[str, Any]]:
    """Return who is in a topic, on all workers and hosts: each member with its info.

    Raises EngineDown, and Unsupported where the engine does not know members.
    """
    topic = name_of(topic)

    async def ask(node: Node) -> dict[str, str]:
        node.check_presence()
        return await node.engine.members(topic)

    return {member: json.loads(info) for member, info in (await nodes.ask(ask)).items()}


async def history(topic: str, since: str | None = None) -> list[Message]:
    """Return the messages that are kept of a topic, oldest first: those after the position `since`, if one is given.

    If it is not in the history any more, they are all that are kept. Raises EngineDown.
    """
    topic = name_of(topic)

    async def ask(node: Node) -> Recovery:
        return await node.engine.history(topic, since)

    return (await nodes.ask(ask)).messages


def metrics() -> dict[str, int]:
    """Return counts of this process, for what shows or exports them.

    topics, subscriptions and queued_bytes are of now; published, delivered (to connections of the core), dropped (for
    clients that do not read), closed (such clients) and gaps since the start.
    """
    return counts_of(list(nodes.nodes.values()))


def counts_of(some: list[Node]) -> dict[str, int]:
    hubs = [node.hub for node in some]
    return {
        "topics": sum(len(hub.topics) for hub in hubs),
        "subscriptions": sum(hub.subscriptions for hub in hubs),
        "queued_bytes": sum(hub.queued_size for hub in hubs),
        "published": sum(hub.published for hub in hubs),
        "delivered": sum(hub.delivered for hub in hubs),
        "dropped": sum(hub.dropped for hub in hubs),
        "closed": sum(hub.closed for hub in hubs),
        "gaps": sum(hub.gaps for hub in hubs),
    }


def note_metrics(page: Metrics, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Put the counts into a page: those of this process, or of one of its loops."""
    found = metrics() if loop is None else counts_of([nodes.nodes[id(loop)]] if id(loop) in nodes.nodes else [])
    page.set(SCALAR_CELLS["subscriptions"], found["subscriptions"])
    for name in ("delivered", "dropped", "closed", "gaps"):
        cell = SCALAR_CELLS[f"topics_{name}"]
        page.set(cell, max(found[name], page.get(cell)))  # the counts of a loop end with it


def limit() -> int:
    loop = asyncio._get_running_loop()
    node = nodes.nodes.get(id(loop)) if loop is not None else nodes.any_node()
    return MAX_SIZE if node is None else node.max_size


def excluded(target: Any) -> str | None:
    """Return what stands for a subscriber in the message that it does not get."""
    if target is None:
        return None
    if isinstance(target, Subscription):
        return target.token
    scope = getattr(target, "scope", None)
    key = target if scope is None else id(scope)
    for node in list(nodes.nodes.values()):
        known = node.by_send.get(key)
        if known is not None:
            return f"{node.name}:{known.number}"
    return None
