"""An engine as somebody else would write it."""

from __future__ import annotations

from typing import Any

from fastserve import topics


class Own(topics.Engine):
    """An engine of one loop, which notes what it is asked."""

    made: Own

    def __init__(self, options: Any) -> None:
        Own.made = self
        self.options = options
        self.calls: list[Any] = []
        self.receiver: topics.Receiver

    async def start(self, receiver: topics.Receiver) -> None:
        self.receiver = receiver
        self.calls.append("start")

    async def stop(self) -> None:
        self.calls.append("stop")

    def publish(self, message: topics.Message, keep: topics.Keep | None, exclude: str | None) -> None:
        self.calls.append(("publish", message.topic, keep))
        self.receiver.receive(message, exclude)

    def subscribe(self, topic: str) -> None:
        self.calls.append(("subscribe", topic))

    def unsubscribe(self, topic: str) -> None:
        self.calls.append(("unsubscribe", topic))

    async def history(self, topic: str, since: str | None, only_position: bool = False) -> topics.Recovery:
        return topics.Recovery([topics.Message(topic, "old", "e:1")], True, "e:1")

    async def counts(self, topics: list[str]) -> dict[str, int]:
        return {topic: self.receiver.count(topic) for topic in topics}


class Forgetful(Own):
    """One that keeps nothing."""

    features = frozenset({"hosts"})
