"""Which files --reload watches: directories, and patterns of names in them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastserve.config import Config

DEFAULT_INCLUDES = ("*.py",)
DEFAULT_EXCLUDES = (".*", ".py[cod]", ".sw.*", "~*")

logger = logging.getLogger("fastserve.error")


def settle(config: Config) -> None:
    """Resolve the directories and patterns that a configuration names, and log what is going to be watched."""
    named = list(config.reload_dirs or [])
    includes, excludes = list(config.reload_includes or []), list(config.reload_excludes or [])
    config.reload_dirs, config.reload_includes, config.reload_excludes = [], [], []
    config.reload_dirs_excludes = []
    if not config.should_reload:
        if named or includes or excludes:
            logger.warning(
                "Current configuration will not reload as not all conditions are met, please refer to documentation."
            )
        return
    wanted = directories_of(named) + directories_matching(includes)
    left_out = directories_matching(excludes)
    watched = [each for each in outermost(wanted) if not is_within(each, left_out)]
    if not watched:
        if named:
            names = [os.fspath(each) for each in named]
            logger.warning(
                "Provided reload directories %s did not contain valid directories, watching current working directory.",
                names,
            )
        watched = [Path.cwd()]
    config.reload_dirs = watched
    config.reload_includes = [each for each in dict.fromkeys(includes) if each not in excludes]
    config.reload_excludes = list(dict.fromkeys(excludes))
    config.reload_dirs_excludes = left_out
    logger.info("Will watch for changes in these directories: %s", sorted(map(str, watched)))


def directories_of(names: Iterable[str | os.PathLike[str]]) -> list[Path]:
    return [Path(name).resolve() for name in names if Path(name).is_dir()]


def directories_matching(patterns: Iterable[str]) -> list[Path]:
    """Return the directories that patterns name, or match in the current directory."""
    found: list[Path] = []
    for pattern in patterns:
        if Path(pattern).is_dir():
            found.append(Path(pattern).resolve())
        elif pattern != ".*" and not Path(pattern).is_absolute():  # .* is meant for files
            found.extend(path.resolve() for path in Path.cwd().glob(pattern) if path.is_dir())
    return found


def outermost(paths: Iterable[Path]) -> list[Path]:
    """Return the directories without those that are inside of others."""
    unique = list(dict.fromkeys(paths))
    return [path for path in unique if not any(other in path.parents for other in unique)]


def is_dir(path: Path) -> bool:
    """Say whether there is such a directory; not where the system cannot tell."""
    try:
        return path.resolve().is_dir()
    except OSError:
        return False


def resolve_reload_patterns(patterns_list: list[str], directories_list: list[str]) -> tuple[list[str], list[Path]]:
    """Return the patterns without repetitions, and the directories that they and the other list name: as uvicorn.

    The directories are resolved, and those inside of others left out.
    """
    directories = outermost(directories_of(directories_list) + directories_matching(patterns_list))
    return list(dict.fromkeys(patterns_list)), directories


def is_within(path: Path, directories: Iterable[Path]) -> bool:
    return any(each == path or each in path.parents for each in directories)


class FileFilter:
    """Says whether a file's change matters."""

    def __init__(self, config: Config) -> None:
        own_includes, own_excludes = list(config.reload_includes or []), list(config.reload_excludes or [])
        self.includes = [*(each for each in DEFAULT_INCLUDES if each not in own_excludes), *own_includes]
        self.excludes = [*(each for each in DEFAULT_EXCLUDES if each not in own_includes), *own_excludes]
        self.left_out = config.reload_dirs_excludes

    def __call__(self, path: Path) -> bool:
        for pattern in self.includes:
            if path.match(pattern):
                named = path.name == pattern  # by its very name: that is no accident
                return named or not self.excluded(path)
        return False

    def excluded(self, path: Path) -> bool:
        return is_within(path, self.left_out) or any(path.match(pattern) for pattern in self.excludes)
