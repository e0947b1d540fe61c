"""The interface of encode/broadcaster over topics: `from fastserve.topics.broadcast import Broadcast`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, NamedTuple

from fastserve._core.topics.message import Message
from fastserve.topics.listening import listen
from fastserve.topics.node import here
from fastserve.topics.publishing import publish

QUEUE = 1000  # messages that wait for a subscriber


class Event(NamedTuple):
    """A message that was published to a channel."""

    channel: str
    message: Any


class Unsubscribed(Exception):
    """Raised by get() of a Subscriber whose block has ended, or whose Broadcast is disconnected."""


class Broadcast:
    """Publishes to channels and subscribes to them; the server's --topics carries the messages, whatever `url` says.

    A subscriber that does not keep up loses its oldest messages beyond 1,000.
    """

    def __init__(self, url: str | None = None, *, prefix: str = "") -> None:
        self._prefix = prefix
        self._subscribers: set[Subscriber] = set()

    async def __aenter__(self) -> Broadcast:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.disconnect()

    async def connect(self) -> None:
        """Return once the engine has started."""
        await here().started()

    async def disconnect(self) -> None:
        """End all subscriptions."""
        for each in list(self._subscribers):
            each.end()

    async def publish(self, channel: str, message: str | bytes) -> None:
        """Send a message to all subscribers of a channel, on all workers and hosts."""
        publish(self._prefix + channel, message)

    @contextlib.asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[Subscriber]:
        """Get the messages of a channel until the end of the block, by iterating over what this gives."""
        async with listen(self._prefix + channel, queue=QUEUE) as messages:
            subscriber = Subscriber(channel, messages)
            self._subscribers.add(subscriber)
            try:
                yield subscriber
            finally:
                self._subscribers.discard(subscriber)
                subscriber.end()


class Subscriber:
    """An asynchronous iterator of the Events of a channel."""

    def __init__(self, channel: str, messages: listen) -> None:
        self.channel = channel
        self._messages = messages

    def end(self) -> None:
        """Have get() raise Unsubscribed, and iterations end."""
        self._messages.end()

    async def get(self) -> Event:
        """Wait for the next Event. Raises Unsubscribed."""
        while True:
            try:
                message = await self._messages.__anext__()
            except StopAsyncIteration:
                raise Unsubscribed from None
            if isinstance(message, Message):
                return Event(self.channel, message.data)

    async def __aiter__(self) -> AsyncIterator[Event]:
        with contextlib.suppress(Unsubscribed):
            while True:
                yield await self.get()
