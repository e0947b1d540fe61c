from typing import Any

from .settings import Settings

class Peers:
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str
    def __init__(self, client: tuple[str, int] | None, server: tuple[str, int | None] | None, scheme: str) -> None: ...
    @classmethod
    def of(
        cls, client: tuple[str, int] | None, server: tuple[str, int | None] | None, scheme: str, settings: Settings
    ) -> Peers: ...

def scope_of(settings: Settings, request: bytes, peers: Peers, state: dict[str, Any]) -> dict[str, Any] | None: ...
