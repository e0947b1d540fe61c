from collections.abc import Iterable
from typing import Any

FIELDS: frozenset[str]

def checked_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]: ...

class Settings:
    def __init__(self, **values: Any) -> None: ...
    def __getattr__(self, name: str) -> Any: ...  # the fields of settings.pxd
