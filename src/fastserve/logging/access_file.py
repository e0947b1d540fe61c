"""The file of the access log."""

from __future__ import annotations

import logging
import os
from io import TextIOWrapper

from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter
from fastserve.logging.log_config import ConfigError

MODE = 0o640  # of a new file: the group of a log shipper may read what clients sent, others may not


class AccessFile(logging.FileHandler):
    """The handler of a file that several processes append to and that can be moved away: SIGUSR1 opens it again."""

    def _open(self) -> TextIOWrapper:
        file = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), MODE)
        return open(file, "a", encoding="utf-8", errors="backslashreplace", newline="\n")  # noqa: PTH123

    @classmethod
    def opened(cls, path: str | os.PathLike[str]) -> AccessFile:
        """Return the handler of the file at a path. Raises ConfigError, which names what is missing."""
        try:
            handler = cls(path, encoding="utf-8")
        except OSError as exc:
            directory = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120  # pathlib is not loaded otherwise
            reason = (exc.strerror or str(exc)).lower()
            if not os.path.isdir(directory):  # noqa: PTH112
                reason = f"directory '{directory}' does not exist"
            raise ConfigError(f"access_log_file '{os.fspath(path)}' cannot be opened: {reason}") from exc
        handler.setFormatter(AccessFormatter(ACCESS_FORMAT, use_colors=False))
        return handler
