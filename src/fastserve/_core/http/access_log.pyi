import logging
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

from fastserve._core.http.access_format import AccessFormat
from fastserve._core.http.account import Account
from fastserve._core.loop.turn import Flushable
from fastserve._core.worker import Worker

class AccessLog(Flushable):
    format: AccessFormat | None
    late: bool
    needs_accounts: bool
    wants_headers: bool
    wants_first_bytes: bool
    def __init__(
        self,
        logger: logging.Logger,
        formatter_class: type[logging.Formatter],
        default_fmt: str,
        format: AccessFormat | None = ...,  # noqa: A002
        skip: Iterable[str] = ...,
        sample: float = ...,
        file_class: type[logging.Handler] | None = ...,
        emit: Callable[..., object] | None = ...,
    ) -> None: ...
    is_plain: bool
    def log(self, scope: MutableMapping[str, Any], peer: tuple[str, int] | None, status: int) -> None: ...
    def write_held(self) -> None: ...

class Foreign:
    account: Account
    def __init__(
        self, worker: Worker, scope: MutableMapping[str, Any], peer: tuple[str, int] | None, trusted: bool
    ) -> None: ...
    def started(self, exchange: Any) -> None: ...
    def head(self, status: int, headers: Iterable[tuple[bytes, bytes]], logged: bool) -> None: ...
    def end(self, aborted: bool, kept: bool, body: int, sent: int, received: int) -> None: ...

def pieces(lines: bytes) -> list[bytes]: ...
