"""A channel layer for Django Channels over topics: each group is a topic, and so is each channel.

A process receives what is sent to the groups that its channels are in and to those channels, once, and hands it to them
in memory. A message is in JSON, so it may have what JSON has, and bytes, which are marked.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
import uuid
from collections import deque
from typing import Any

from channels.exceptions import ChannelFull  # type: ignore[import-untyped,unused-ignore]
from channels.layers import BaseChannelLayer  # type: ignore[import-untyped,unused-ignore]

from fastserve._core.topics.message import Message
from fastserve.topics.node import Node, here
from fastserve.topics.publishing import count, publish

BYTES = "__bytes__"
SWEEP_SECONDS = 10.0
GROUP, CHANNEL = "group:", "channel:"

logger = logging.getLogger("fastserve.error")


class Box:
    """What waits for one channel of this process."""

    def __init__(self, capacity: int, expiry: float) -> None:
        self.messages: deque[tuple[float, dict[str, Any]]] = deque()  # each with when it is too old
        self.capacity = capacity
        self.expiry = expiry
        self.overran = False
        self.come = asyncio.Event()
        self.groups: set[str] = set()
        self.receiving = 0

    def put(self, message: dict[str, Any]) -> bool:
        """Add a message; false if there is no room for it."""
        self.drop_old()
        if len(self.messages) >= self.capacity:
            return False
        self.messages.append((time.monotonic() + self.expiry, message))
        self.come.set()
        return True

    def drop_old(self) -> None:
        now = time.monotonic()
        while self.messages and self.messages[0][0] <= now:
            self.messages.popleft()


class Home:
    """The channels and groups of one event loop."""

    def __init__(self, node: Node, layer: TopicsLayer) -> None:
        self.node = node
        self.layer = layer
        self.boxes: dict[str, Box] = {}
        self.swept = time.monotonic()
        self.groups: dict[str, dict[str, None]] = {}  # the channels of each, in their order

    def box(self, channel: str) -> Box:
        box = self.boxes.get(channel)
        if box is None:
            box = self.boxes[channel] = Box(self.layer.get_capacity(channel), self.layer.expiry)
            self.node.hub.listen(self.layer.prefix + CHANNEL + channel, self._take_channel)
        return box

    def drop(self, channel: str) -> None:
        """Forget a channel that nobody reads any more and that has nothing to read."""
        box = self.boxes.get(channel)
        if box is not None and not (box.receiving or box.messages or box.groups):
            del self.boxes[channel]
            self.node.hub.unlisten(self.layer.prefix + CHANNEL + channel, self._take_channel)

    def sweep(self) -> None:
        """Forget, from time to time, channels whose messages are too old and that nobody reads."""
        now = time.monotonic()
        if now - self.swept >= min(self.layer.expiry, SWEEP_SECONDS):
            self.swept = now
            for channel, box in list(self.boxes.items()):
                box.drop_old()
                self.drop(channel)

    def add(self, group: str, channel: str) -> None:
        self.box(channel).groups.add(group)
        if group not in self.groups:
            self.groups[group] = {}
            self.node.hub.listen(self.layer.prefix + GROUP + group, self._take_group)
        self.groups[group][channel] = None

    def discard(self, group: str, channel: str) -> None:
        channels = self.groups.get(group)
        if channels is None or channel not in channels:
            return
        del channels[channel]
        self.boxes[channel].groups.discard(group)
        if not channels:
            del self.groups[group]
            self.node.hub.unlisten(self.layer.prefix + GROUP + group, self._take_group)
        self.drop(channel)

    def _take_channel(self, message: Message | None, exclude: int) -> None:
        if message is not None:
            self._put(message.topic.removeprefix(self.layer.prefix + CHANNEL), message)

    def _take_group(self, message: Message | None, exclude: int) -> None:
        if message is not None:
            for channel in list(self.groups.get(message.topic.removeprefix(self.layer.prefix + GROUP), ())):
                self._put(channel, message)

    def _put(self, channel: str, message: Message) -> None:
        box = self.boxes.get(channel)
        if box is None or box.put(decoded(message.text)):  # each its own, for consumers change them
            return
        if not box.overran:
            box.overran = True
            logger.warning("topics: the channel %s has more than %d messages, dropping others", channel, box.capacity)


class TopicsLayer(BaseChannelLayer):  # type: ignore[misc,unused-ignore]  # Channels has no types
    """A channel layer: CHANNEL_LAYERS = {"default": {"BACKEND": "fastserve.topics.channels.TopicsLayer"}}.

    Groups reach all workers and hosts that the server's --topics connects. A channel is in one process: new_channel()
    names it, and a message to it waits there until it is received. Messages beyond the `capacity` of a channel are
    dropped for a group and raise ChannelFull for send() in the same process, as the interface has it.
    """

    extensions = ("groups", "flush")

    def __init__(
        self,
        prefix: str = "channels:",
        capacity: int = 100,
        channel_capacity: dict[Any, int] | None = None,
        expiry: float = 60,
        group_expiry: float = 86400,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity, channel_capacity=channel_capacity)
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self.prefix = prefix
        self._homes: dict[int, Home] = {}

    def _home(self) -> Home:
        node = here()
        home = self._homes.get(id(node.loop))
        if home is None or home.node is not node:
            for key in [key for key, each in self._homes.items() if each.node.loop.is_closed()]:
                del self._homes[key]
            home = self._homes[id(node.loop)] = Home(node, self)
        return home

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to a channel, wherever it is. Raises ChannelFull if it is full here."""
        assert isinstance(message, dict), "message is not a dict"
        self.require_valid_channel_name(channel)
        home = self._home()
        box = home.boxes.get(channel)
        if box is None:
            process, local, _ = channel.partition("!")
            if process.endswith(home.node.name) if local else not await count(self.prefix + CHANNEL + channel):
                box = home.box(channel)  # nobody reads it yet, and this process may
        if box is not None:
            if not box.put(decoded(encoded(message))):
                raise ChannelFull(channel)
            home.sweep()
            return
        publish(self.prefix + CHANNEL + channel, encoded(message))

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the first message that arrives on a channel; of several that wait one gets it."""
        self.require_valid_channel_name(channel)
        home = self._home()
        box = home.box(channel)
        box.receiving += 1
        try:
            await home.node.started()
            box.drop_old()
            while not box.messages:
                box.come.clear()
                await box.come.wait()
            return box.messages.popleft()[1]
        finally:
            box.receiving -= 1
            if box.messages:
                box.come.set()  # for another that waits
            home.drop(channel)
            home.sweep()

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return the name of a channel of this process."""
        return f"{prefix}{here().name}!{uuid.uuid4().hex}"

    async def group_add(self, group: str, channel: str) -> None:
        """Send a channel of this process what is sent to a group, from when all workers know, which this waits for."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        home = self._home()
        await home.node.started()
        home.add(group, channel)
        await home.node.carried([self.prefix + GROUP + group])

    async def group_discard(self, group: str, channel: str) -> None:
        """Undo group_add()."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self._home().discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to all channels of a group, on all workers and hosts."""
        assert isinstance(message, dict), "message is not a dict"
        self.require_valid_group_name(group)
        publish(self.prefix + GROUP + group, encoded(message))

    async def flush(self) -> None:
        """Forget all channels and groups of this process."""
        home = self._home()
        for group, channels in list(home.groups.items()):
            for channel in list(channels):
                home.discard(group, channel)
        for channel, box in list(home.boxes.items()):
            box.messages.clear()
            home.drop(channel)

    async def close(self) -> None:
        """Do nothing: the server stops what carries messages."""


def encoded(message: dict[str, Any]) -> str:
    return json.dumps(message, default=marked, ensure_ascii=False, separators=(",", ":"))


def marked(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {BYTES: base64.b64encode(value).decode()}
    raise TypeError(f"a message of a channel layer cannot have a {type(value).__name__}")


def decoded(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text, object_hook=unmarked)
    return found


def unmarked(fields: dict[str, Any]) -> Any:
    if fields.keys() == {BYTES}:
        return base64.b64decode(fields[BYTES])
    return fields
