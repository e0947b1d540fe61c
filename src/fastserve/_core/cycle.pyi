from typing import Any

from .awaitable import Awaitable
from .task import Owner

class Receive(Awaitable): ...
class Send(Awaitable): ...

class Cycle(Owner):
    scope: dict[str, Any]
    left: bool
    @property
    def unreachable(self) -> bool: ...
    def arrived(self) -> tuple[bytes, bool]: ...
