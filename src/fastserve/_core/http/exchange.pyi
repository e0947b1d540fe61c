from typing import Any

from fastserve._core.loop.awaitable import Awaitable
from fastserve._core.loop.task import Owner

class Receive(Awaitable): ...
class Send(Awaitable): ...

class HttpExchange(Owner):
    scope: dict[str, Any]
    left: bool
    @property
    def unreachable(self) -> bool: ...
    def arrived(self) -> tuple[bytes, bool]: ...
