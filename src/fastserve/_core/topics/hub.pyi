from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable

from .ledger import Ledger
from .message import Message
from .subscriber import Subscriber
from .topic import Topic

def running_loop() -> AbstractEventLoop | None: ...

class Hub(Ledger):
    topics: dict[str, Topic]
    published: int
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
