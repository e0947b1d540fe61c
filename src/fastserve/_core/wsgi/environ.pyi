from typing import Any

from fastserve._types import Scope

keys: dict[bytes, str]

def paths_of(scope: dict[str, Any]) -> tuple[str, str]: ...

class Environs:
    templates: dict[tuple[Any, ...], dict[str, Any]]
    def __init__(self, multithread: bool, multiprocess: bool, file_wrapper: Any) -> None: ...
    def make(self, scope: Scope, body: Any) -> dict[str, Any]: ...
