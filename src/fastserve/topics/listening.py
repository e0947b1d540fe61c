"""Topics for a consumer in Python: a bounded queue, with gaps told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final

from fastserve._core.topics.message import Message
from fastserve.topics.checks import names_of
from fastserve.topics.engine import EngineDown, Recovery
from fastserve.topics.history import is_after
from fastserve.topics.node import Node, here
from fastserve.topics.presence import Join, Leave
from fastserve.topics.subscription import positions_of


class Gap:
    """The kind of GAP, which stands for messages that are lost."""

    def __repr__(self) -> str:
        return "GAP"


GAP: Final = Gap()


class listen:  # noqa: N801  # it is called as a function
    """Get the messages of `topics` in an `async with` block, which gives an asynchronous iterator of them.

    `queue` messages wait at most; of more the oldest are dropped, and GAP stands in their place, as it does for those
    that the engine has lost and for a position `since` that is not in the topic's history any more. With `presence`
    there is also a Join for each member that joins a topic, and a Leave for each that leaves; members() says who is
    there. Unsupported is raised at the start of the block where the engine does not know members.
    """

    def __init__(
        self,
        topics: str | Iterable[str],
        *,
        queue: int = 1000,
        since: str | Mapping[str, str] | None = None,
        presence: bool = False,
    ) -> None:
        if queue < 1:
            raise ValueError(f"queue: expected at least 1 message, not {queue!r}")
        self.topics = names_of(topics)
        self.queue = queue
        self.presence = presence
        self._since = positions_of(self.topics, since)
        self._waiting: deque[Message | Gap | Join | Leave] = deque()
        self._held: dict[str, list[Message | None]] = {name: [] for name in self.topics}
        self._newest: dict[str, str | None] = {}  # positions of the last messages that histories have given
        self._wake = asyncio.Event()
        self._ended = False
        self._node: Node
        self._listeners: dict[str, Callable[[Message | None, int], Any]] = {}

    async def __aenter__(self) -> listen:
        self._node = node = here()
        if self.presence:
            node.check_presence()
        await node.started()
        for name in self.topics:
            if self.presence:
                node.presence.watch(name, self._put)
            self._listeners[name] = self._listener(name)
            node.hub.listen(name, self._listeners[name])
        try:
            await node.carried(self.topics)
            for name in self.topics:
                if self.presence:
                    with contextlib.suppress(EngineDown):
                        await node.engine.members(name)  # what it knows is what changes are told of
                await self._recover(name)
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._leave()

    def __aiter__(self) -> listen:
        return self

    async def __anext__(self) -> Message | Gap | Join | Leave:
        while not self._waiting or self._ended:
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()

    def end(self) -> None:
        """Have the iteration end at once."""
        self._ended = True
        self._wake.set()

    def _leave(self) -> None:
        for name, listener in self._listeners.items():
            self._node.hub.unlisten(name, listener)
            self._node.presence.unwatch(name, self._put)
        self._listeners.clear()

    def _listener(self, name: str) -> Callable[[Message | None, int], Any]:
        def take(message: Message | None, exclude: int) -> None:
            if name in self._held:
                self._held[name].append(message)
            elif message is None:
                self._put(GAP)
            elif is_after(message.id, self._newest.get(name)):
                self._put(message)

        return take

    async def _recover(self, name: str) -> None:
        since = self._since.get(name)
        found = Recovery([], True, None)
        if since is not None:
            try:
                found = await self._node.engine.history(name, since)
            except EngineDown:
                found = Recovery([], False, None)
        self._newest[name] = found.position
        if not found.complete:
            self._put(GAP)
        for message in found.messages:
            self._put(message)
        for each in self._held.pop(name):
            if each is None:
                self._put(GAP)
            elif is_after(each.id, found.position):
                self._put(each)

    def _put(self, message: Message | Gap | Join | Leave) -> None:
        waiting = self._waiting
        if message is GAP and waiting and waiting[-1] is GAP:
            return
        waiting.append(message)
        if len(waiting) > self.queue:
            while len(waiting) > max(self.queue - 1, 1):
                waiting.popleft()
            if waiting[0] is not GAP:
                waiting.appendleft(GAP)
        self._wake.set()
