from collections.abc import Callable

from fastserve._core.interfaces import Pending, Subscribing

from .message import Message

class Hub:
    topics: dict[str, Topic]
    queue: int
    queue_size: int
    subscriptions: int
    delivered: int
    dropped: int
    closed: int
    gaps: int
    queued_size: int
    def __init__(
        self, changed: Callable[[str, bool], object] | None = ..., queue: int = ..., queue_size: int = ...
    ) -> None: ...
    def drop_deserted(self, topic: Topic) -> None: ...
    def deliver(self, message: Message, exclude: int = ...) -> None: ...
    def gap(self, name: str) -> None: ...
    def listen(self, name: str, listener: Callable[[Message | None, int], object]) -> None: ...
    def unlisten(self, name: str, listener: Callable[[Message | None, int], object]) -> None: ...
    def count(self, name: str) -> int: ...
    def new_number(self) -> int: ...

class Topic:
    name: str
    count: int

class Member: ...

class Subscription(Subscribing):
    hub: Hub
    names: tuple[str, ...]
    began: bool
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
    def active(self) -> bool: ...
    @property
    def number(self) -> int: ...
    def recovered(
        self, name: str, messages: list[Message], complete: bool, after: Callable[[Message], bool] | None = ...
    ) -> None: ...
    def tell_gap(self, member: Member) -> None: ...
    def cancel(self) -> None: ...

class Subscriber(Pending):
    number: int
    def alive(self) -> None: ...
