"""--reload by polling the modification time of every file."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fastserve.config import Config
from fastserve.supervisors.basereload import BaseReload
from fastserve.supervisors.file_filter import FileFilter

logger = logging.getLogger("fastserve.error")

__all__ = ["BaseReload", "Config", "StatReload", "logger"]


class StatReload(BaseReload):
    """Polls the modification time of every file."""

    reloader_name = "StatReload"

    def __init__(
        self, config: Config, target: Callable[[list[socket.socket] | None], None], sockets: list[socket.socket]
    ) -> None:
        super().__init__(config, target, sockets)
        self.filter = FileFilter(config)
        self.mtimes = self.found()

    def should_restart(self) -> list[Path] | None:
        self.pause()
        before, self.mtimes = self.mtimes, self.found()
        if before == self.mtimes:
            return None
        names = before.keys() | self.mtimes.keys()
        return sorted(Path(name) for name in names if before.get(name) != self.mtimes.get(name))

    def found(self) -> dict[str, float]:
        """Return the modification time of every file that matters."""
        times: dict[str, float] = {}
        for folder, files in folders_of(os.fspath(each) for each in self.config.reload_dirs or ()):
            for name in files:
                path = Path(folder, name)
                if self.filter(path):
                    with contextlib.suppress(OSError):
                        times[str(path)] = path.stat().st_mtime
        return times


def folders_of(roots: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield every folder below the roots, following symbolic links, with the names of its files; each folder once."""
    seen: set[tuple[int, int]] = set()
    pending = list(roots)  # linked folders come last: their other names are preferred
    while pending:
        for folder, folders, files in os.walk(pending.pop(0)):
            try:
                found = os.stat(folder)  # noqa: PTH116
            except OSError:  # has just been removed
                folders.clear()
                continue
            identity = (found.st_dev, found.st_ino)
            if identity in seen:
                folders.clear()
                continue
            seen.add(identity)
            folders[:] = [name for name in folders if name != "__pycache__"]
            below = (os.path.join(folder, name) for name in folders)  # noqa: PTH118
            pending += [path for path in below if os.path.islink(path)]  # noqa: PTH114
            yield folder, files
