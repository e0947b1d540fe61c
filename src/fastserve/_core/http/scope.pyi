from fastserve._core.settings import Settings

class Peers:
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str
    def __init__(self, client: tuple[str, int] | None, server: tuple[str, int | None] | None, scheme: str) -> None: ...
    @classmethod
    def of(
        cls, client: tuple[str, int] | None, server: tuple[str, int | None] | None, scheme: str, settings: Settings
    ) -> Peers: ...
