"""A client manager for python-socketio over topics, by which its servers on several workers and hosts act as one."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from socketio.async_pubsub_manager import AsyncPubSubManager  # type: ignore[import-untyped,unused-ignore]

from fastserve._core.topics.message import Message
from fastserve.topics import node as nodes
from fastserve.topics.checks import messages_of, name_of
from fastserve.topics.node import here
from fastserve.topics.publishing import limit

QUEUE = 10_000  # messages of other servers that wait for this one

logger = logging.getLogger("fastserve.error")


class TopicsManager(AsyncPubSubManager):  # type: ignore[misc,unused-ignore]  # python-socketio has no types
    """A client manager: socketio.AsyncServer(async_mode="asgi", client_manager=TopicsManager()).

    The server's --topics carries what Socket.IO servers tell one another, by the topic that `channel` names. In a
    program that serves nothing, topics.connect() says where to, and TopicsManager(write_only=True) emits. A message has
    --topics-max-size bytes at most, in JSON; emit() raises ValueError for a larger one.
    """

    name = "topics"

    def __init__(
        self, channel: str = "socketio", write_only: bool = False, logger: Any = None, json: Any = None
    ) -> None:
        super().__init__(channel=name_of(channel), write_only=write_only, logger=logger, json=json)
        self._own: str | None = None  # by which it leaves itself out

    async def _publish(self, data: Any) -> None:
        [message] = messages_of(self.channel, self.json.dumps(data), None, limit())
        nodes.publish(message, None, self._own)

    async def _listen(self) -> AsyncIterator[str]:
        node = here()
        await node.started()
        number = node.hub.new_number()
        waiting: deque[str] = deque()
        come = asyncio.Event()

        def take(message: Message | None, exclude: int) -> None:
            if exclude == number:
                return
            if message is None:
                logger.warning("topics: messages of other Socket.IO servers are lost")
            elif len(waiting) < QUEUE:
                waiting.append(message.text)
                come.set()
            else:
                logger.warning("topics: more than %d messages of other Socket.IO servers wait, dropping one", QUEUE)

        node.hub.listen(self.channel, take)
        self._own = f"{node.name}:{number}"
        try:
            while True:
                while not waiting:
                    come.clear()
                    await come.wait()
                yield waiting.popleft()
        finally:
            self._own = None
            node.hub.unlisten(self.channel, take)
