from collections.abc import Callable
from typing import Any, Protocol

class _Hosts(Protocol):
    def trusts(self, host: str | None) -> bool: ...
    def client(self, forwarded: str) -> tuple[str, int]: ...

class _Reader(Protocol):
    @property
    def fields(self) -> tuple[tuple[bytes, bool], ...]: ...
    def said(
        self, values: tuple[bytes | None, ...]
    ) -> tuple[tuple[str, int] | None, str | None, bytes | None, bytes | None, str | None]: ...

class Proxies:
    def __init__(
        self,
        hosts: _Hosts,
        scheme_of: Callable[[bytes, bool], str | None],
        reader: _Reader | None = None,
        root_path: str = "",
        path_is_whole: bool = False,
    ) -> None: ...
    def forward_scope(self, scope: Any) -> None: ...

def plain_host(host: str) -> str: ...
def waited_since(value: bytes, now: float) -> float: ...
