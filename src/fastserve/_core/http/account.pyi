from typing import Any, final

from fastserve._core.loop.clock import Timed

@final
class Account(Timed):
    scope: dict[str, Any]
    request_id: str | None
    status: int
    slow: bool
    aborted: bool
    @property
    def client(self) -> str: ...
    @property
    def over(self) -> bool: ...
    @property
    def seconds(self) -> float: ...
    @property
    def task(self) -> Any: ...

def ids_of(scope: dict[str, Any], request_id: str | None) -> dict[str, str]: ...
