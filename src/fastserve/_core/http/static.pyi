import os
from collections.abc import Callable
from typing import Any, TypeAlias

from fastserve._core.http.exchange import HttpExchange

_Fields: TypeAlias = list[tuple[bytes, bytes]]

class Kept:
    def __init__(
        self,
        directory: bytes,
        name: bytes,
        status: os.stat_result,
        headers: _Fields,
        etag: bytes,
        headers_304: _Fields,
        content: bytes | None,
    ) -> None: ...

class StaticFiles:
    def __init__(
        self,
        routes: list[bytes],
        everything: bytes | None,
        find: Callable[[bytes], Any],
        ask: Callable[[str, bytes, _Fields], Any],
    ) -> None: ...

class StaticExchange(HttpExchange): ...

def open_beneath(directory: bytes, name: bytes) -> int | None: ...
