from asyncio import AbstractEventLoop, BaseProtocol
from collections.abc import Callable
from typing import Any

from .http.access_log import AccessLog
from .http.static import StaticFiles
from .interfaces import DirectApplication
from .loop.admission import Admission
from .loop.clock import Clock
from .loop.turn import Turn
from .metrics import Metrics
from .settings import Settings

class Worker:
    loop: AbstractEventLoop
    app: Callable[..., Any]
    settings: Settings
    clock: Clock
    turn: Turn
    state: dict[str, Any]
    log: Callable[..., None]
    access: AccessLog | None
    accounts: bool
    ws_framing: Callable[[Settings, list[bytes]], Any] | None
    ws_protocol: Callable[[], BaseProtocol] | None
    others: list[Worker]
    connections: set[Any]
    tasks: set[Any]
    active: int
    places: int
    admission: Admission
    spares: int
    lingering: int
    made: int
    last_descriptor: int
    when_scarce: Callable[[], object] | None
    has_one_address: bool
    when_lost: Callable[[Any], object] | None  # called with the connection
    total_requests: int
    metrics: Metrics
    red: bool
    draining: bool
    def __init__(
        self,
        loop: AbstractEventLoop,
        app: Callable[..., Any],
        settings: Settings,
        *,
        state: dict[str, Any],
        log: Callable[..., None],
        access: AccessLog | None = ...,
        slow: Callable[[Any], None] | None = ...,
        static: StaticFiles | None = ...,
        direct: DirectApplication | None = ...,
        ws_framing: Callable[[Settings, list[bytes]], Any] | None = ...,
        ws_protocol: Callable[[], BaseProtocol] | None = ...,
        metrics: Metrics | None = ...,
        beside: Worker | None = ...,
    ) -> None: ...
    def report(
        self, message: str, exception: BaseException | None = ..., level: int = ..., extra: dict[str, Any] | None = ...
    ) -> None: ...
    def trace(self, on: bool) -> None: ...
    def announce_drain(self, seconds: float = ...) -> None: ...
    def drain(self, replaced: bool = ...) -> None: ...
    def end_streams(self) -> list[Any]: ...
    def orphans(self) -> list[Any]: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...
