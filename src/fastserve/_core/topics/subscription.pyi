from collections.abc import Callable

from .hub import Hub
from .member import Member
from .message import Message
from .subscriber import Subscriber

class OfTopic(Member): ...

class Subscription(OfTopic):
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
