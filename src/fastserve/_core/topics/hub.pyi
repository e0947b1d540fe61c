from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from typing import Any, final

from fastserve._core.interfaces import Pending, Subscribing

from .message import Message

def running_loop() -> AbstractEventLoop | None: ...

class Hub:
    topics: dict[str, Topic]
    queue: int
    queue_size: int
    published: int
    subscriptions: int
    delivered: int
    dropped: int
    closed: int
    gaps: int
    queued_size: int
    def __init__(
        self,
        changed: Callable[[str, bool], object] | None = ...,
        queue: int = ...,
        queue_size: int = ...,
        gone: Callable[[Subscriber], object] | None = ...,
        *,
        loop: AbstractEventLoop | None = ...,
        max_size: int = ...,
    ) -> None: ...
    def publish(self, name: str | Iterable[str], data: str | bytes) -> bool: ...
    def deliver(self, message: Message, exclude: int = ...) -> None: ...
    def gap(self, name: str) -> None: ...
    def listen(self, name: str, listener: Callable[[Message | None, int], object]) -> None: ...
    def unlisten(self, name: str, listener: Callable[[Message | None, int], object]) -> None: ...
    def count(self, name: str) -> int: ...
    def new_number(self) -> int: ...

@final
class Topic:
    name: str
    count: int

class Member(Subscribing): ...

class Subscription(Member):
    def __init__(
        self,
        hub: Hub,
        names: tuple[str, ...],
        *,
        slow: str = ...,
        gap: Message | None = ...,
        in_json: bool = ...,
        recovers: bool = ...,
        end_noted: Callable[[], object] | None = ...,
        keepalive: float = ...,
    ) -> None: ...
    @property
    def began(self) -> bool: ...
    @property
    def active(self) -> bool: ...
    @property
    def number(self) -> int: ...
    @property
    def connection(self) -> Subscriber | None: ...
    def note_end(self, noted: Callable[[], object]) -> None: ...
    def recovered(
        self, name: str, messages: list[Message], complete: bool, after: Callable[[Message], bool] | None = ...
    ) -> None: ...
    def cancel(self) -> None: ...

@final
class Subscriber(Pending):
    number: int
    key: Any
    def known_by(self, key: Any) -> bool: ...
    def alive(self) -> None: ...
