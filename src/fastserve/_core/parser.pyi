from collections.abc import Iterable
from typing import Any

from .settings import Settings

class Parser:
    def __init__(self, settings: Settings) -> None: ...

def parse(settings: Settings, inputs: Iterable[bytes]) -> list[tuple[Any, ...]]: ...
