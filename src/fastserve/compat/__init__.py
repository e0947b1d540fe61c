"""fastserve under uvicorn's name, for programs and libraries that import uvicorn themselves.

After install(), `import uvicorn` gives this package, in this process and in the Python processes that it starts;
`python -m fastserve.compat PROGRAM ...` runs a program that way. A module is the same object under both names, and the
loggers `uvicorn`, `uvicorn.error`, `uvicorn.access` and `uvicorn.asgi` are those of fastserve. `__version__` is that of
the uvicorn that it replaces, and the line that tools wait for says "Uvicorn running on".
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import fastserve
from fastserve import _version
from fastserve.compat import loggers

__all__ = ["install"]

OURS, THEIRS = "fastserve", "uvicorn"
# What uvicorn imports with itself, and tools wait for that change it as soon as it is imported (import hooks).
IMPORTED_AT_ONCE = ("config", "server")
THEIR_VERSION = "0.54.0"  # whose interface this is: programs check it before they use newer features
# A package `uvicorn` that calls install(): found by the processes that this one starts.
FOLDER = str(Path(__file__).parent / "path")


class ImportedBefore(RuntimeError):
    """uvicorn itself was imported before install(): modules that hold it would go on using it."""


class AliasLoader(Loader):
    """Loads the module of fastserve that stands for one of uvicorn."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has replaced it

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of the module, for `python -m`."""
        spec = find_spec(self.name)
        loader: Any = None if spec is None else spec.loader
        code: CodeType | None = None if loader is None else loader.get_code(self.name)
        return code


class AliasFinder(MetaPathFinder):
    """Finds `fastserve.a.b` for `uvicorn.a.b`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, dot, rest = fullname.partition(".")
        if top != THEIRS:
            return None
        name = f"{OURS}{dot}{rest}"
        found = find_spec(name)
        if found is None:
            return None  # the import system raises ModuleNotFoundError
        return ModuleSpec(
            fullname, AliasLoader(name), origin=found.origin, is_package=found.submodule_search_locations is not None
        )


def announce(name: str) -> None:
    """Import that module of fastserve by uvicorn's name too, which it has meanwhile: import hooks go by either."""
    module = importlib.import_module(f"{OURS}.{name}")
    own, alias = module.__name__, f"{THEIRS}.{name}"
    module.__name__ = alias
    try:
        importlib.import_module(alias)
    finally:
        module.__name__ = own


def place() -> int:
    """Return where AliasFinder belongs in sys.meta_path: before what would find uvicorn, after import hooks."""
    for index, finder in enumerate(sys.meta_path):
        if finder is PathFinder or getattr(finder, "find_spec", no_spec)(OURS, None) is not None:
            return index
    return len(sys.meta_path)


def no_spec(name: str, path: object) -> None:
    """Find nothing, as a finder without find_spec()."""


def install() -> None:
    """Make `import uvicorn` give fastserve, in this process and in those that it starts. May be called again.

    Raises ImportedBefore, a RuntimeError, if uvicorn itself has been imported already.
    """
    present = sys.modules.get(THEIRS)
    if any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        return
    if present is not None and not is_shim(getattr(present, "__file__", None)):
        raise ImportedBefore(f"uvicorn was imported before fastserve.compat.install(), from {present.__file__}")
    sys.meta_path.insert(place(), AliasFinder())
    sys.modules[THEIRS] = fastserve
    fastserve.__version__ = THEIR_VERSION
    _version.server_name = "Uvicorn"
    loggers.share()
    for name in IMPORTED_AT_ONCE:
        announce(name)
    pass_on()


def is_shim(path: str | None) -> bool:
    """Return whether a module's file is the package in FOLDER, which may have other paths through symlinks."""
    try:
        return path is not None and Path(path).samefile(Path(FOLDER, THEIRS, "__init__.py"))
    except OSError:
        return False


def pass_on() -> None:
    """Let the Python processes that this one starts find the package in FOLDER before uvicorn itself."""
    before = os.environ.get("PYTHONPATH")
    folders = before.split(os.pathsep) if before else []
    if FOLDER not in folders:
        os.environ["PYTHONPATH"] = os.pathsep.join([FOLDER, *folders])
    if FOLDER not in sys.path:
        sys.path.insert(0, FOLDER)  # multiprocessing passes it to processes that it spawns
