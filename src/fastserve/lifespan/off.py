"""No lifespan: for --lifespan off."""

from __future__ import annotations

from typing import Any

from fastserve.importer import from_elsewhere
from fastserve.options.table import Options


class LifespanOff:
    """No lifespan events."""

    def __init__(self, config: Options) -> None:
        self.should_exit = False
        self.state: dict[str, Any] = {}

    async def startup(self) -> None:
        """Return at once."""

    async def shutdown(self) -> None:
        """Return at once."""


def __getattr__(name: str) -> Any:
    return from_elsewhere(__name__, {"Config": "fastserve.config"}, name)  # which programs find here in uvicorn
