"""An ASGI server: fastserve.run(app), or Server(Config(app)) for more control, or the command `fastserve`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fastserve import _version

if TYPE_CHECKING:
    from fastserve.config import Config
    from fastserve.main import main, run
    from fastserve.server import Server

__version__ = _version.VERSION
__all__ = ["Config", "Server", "__version__", "main", "run"]

# Importing the package costs next to nothing; these are imported when they are first used.
HOMES = {"Config": "fastserve.config", "Server": "fastserve.server", "main": "fastserve.cli", "run": "fastserve.main"}


class Package(ModuleType):
    """The package, whose `main` is the command even when the submodule of that name has been imported."""

    def __getattr__(self, name: str) -> Any:
        from importlib import import_module
        from importlib.util import find_spec

        if name in HOMES:
            value = getattr(import_module(HOMES[name]), name)
        elif not name.startswith("__") and find_spec(f"{__name__}.{name}") is not None:
            value = import_module(f"{__name__}.{name}")  # fastserve.config is there without an import of its own
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "main" and isinstance(value, ModuleType):
            return  # the import system, naming the submodule here
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *HOMES})


sys.modules[__name__].__class__ = Package
