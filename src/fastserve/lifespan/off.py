"""No lifespan: for --lifespan off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastserve.config import Config


class LifespanOff:
    """No lifespan events."""

    def __init__(self, config: Config) -> None:
        self.should_exit = False
        self.state: dict[str, Any] = {}

    async def startup(self) -> None:
        """Return at once."""

    async def shutdown(self) -> None:
        """Return at once."""


def __getattr__(name: str) -> Any:
    if name == "Config":  # which programs find here in uvicorn
        from fastserve.config import Config

        return Config
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
