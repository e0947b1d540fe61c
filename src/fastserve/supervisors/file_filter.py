"""Which files --reload watches: patterns of names in the directories that the configuration has resolved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastserve.options.watched import is_within

if TYPE_CHECKING:
    from fastserve.config import Config

DEFAULT_INCLUDES = ("*.py",)
DEFAULT_EXCLUDES = (".*", ".py[cod]", ".sw.*", "~*")


class FileFilter:
    """Decides whether a change of a file matters."""

    def __init__(self, config: Config) -> None:
        own_includes, own_excludes = list(config.reload_includes or []), list(config.reload_excludes or [])
        self.includes = [*(each for each in DEFAULT_INCLUDES if each not in own_excludes), *own_includes]
        self.excludes = [*(each for each in DEFAULT_EXCLUDES if each not in own_includes), *own_excludes]
        self.left_out = config.reload_dirs_excludes

    def __call__(self, path: Path) -> bool:
        for pattern in self.includes:
            if path.match(pattern):
                named = path.name == pattern  # an exact name is deliberate
                return named or not self.excluded(path)
        return False

    def excluded(self, path: Path) -> bool:
        return is_within(path, self.left_out) or any(path.match(pattern) for pattern in self.excludes)
