from collections.abc import Iterable
from typing import Any

from fastserve._core.http.scope import Peers
from fastserve._core.settings import Settings

class Parser:
    def __init__(self, settings: Settings) -> None: ...

def parse(settings: Settings, inputs: Iterable[bytes]) -> list[tuple[Any, ...]]: ...
def scope_of(settings: Settings, request: bytes, peers: Peers, state: dict[str, Any]) -> dict[str, Any] | None: ...
