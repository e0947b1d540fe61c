from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from typing import Any

from fastserve._core.interfaces import DirectApplication, DirectCall
from fastserve._types import Scope

from .environ import Environs

class WSGIApplication(DirectApplication):
    app: Callable[..., Any]
    threads: Any
    def __init__(
        self, app: Callable[..., Any], threads: Any, environs: Environs, kind: type, file_wrapper: type
    ) -> None: ...
    def close(self) -> None: ...
    def call(self, loop: AbstractEventLoop, scope: Scope, piece: bytes, more: bool) -> Any: ...

class WSGICall(DirectCall):
    produced: int
    error: BaseException | None
    ended: bool
    gone: bool
    consumed: int
    failure: Exception | None
    news: bool
    waiter: Future[None] | None
    body: Any
    gate: Any
    input: Any
    called: bool
    written: Any
    def run(self) -> None: ...
    def advance(self) -> None: ...
    def finish(self) -> None: ...
    def start_response(self, status: Any, headers: Any, exc_info: Any = ...) -> Callable[[bytes], None]: ...
    def write(self, data: bytes) -> None: ...
    def report(self) -> None: ...
    def collect(self) -> list[tuple[dict[str, Any], int]]: ...
