"""What --reload watches: the directories and patterns that the options name, resolved."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fastserve.options.table import Options

logger = logging.getLogger("fastserve.error")


class Watched(NamedTuple):
    """Directories to watch, patterns of file names in them, and directories inside them that are left out."""

    dirs: list[Path]
    includes: list[str]
    excludes: list[str]
    left_out: list[Path]


def watched(options: Options) -> Watched:
    """Return what the options say to watch, and log the directories; nothing if the server cannot reload."""
    named = list(options.reload_dirs or [])
    includes, excludes = list(options.reload_includes or []), list(options.reload_excludes or [])
    if not options.should_reload:
        if named or includes or excludes:
            logger.warning(
                "Current configuration will not reload as not all conditions are met, please refer to documentation."
            )
        return Watched([], [], [], [])
    wanted = directories_of(named) + directories_matching(includes)
    left_out = directories_matching(excludes)
    dirs = [each for each in outermost(wanted) if not is_within(each, left_out)]
    if not dirs:
        if named:
            names = [os.fspath(each) for each in named]
            logger.warning(
                "Provided reload directories %s did not contain valid directories, watching current working directory.",
                names,
            )
        dirs = [Path.cwd()]
    logger.info("Will watch for changes in these directories: %s", sorted(map(str, dirs)))
    patterns = [each for each in dict.fromkeys(includes) if each not in excludes]
    return Watched(dirs, patterns, list(dict.fromkeys(excludes)), left_out)


def directories_of(names: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the names that are directories, resolved."""
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
    """Return the directories without those inside others."""
    unique = list(dict.fromkeys(paths))
    return [path for path in unique if not any(other in path.parents for other in unique)]


def is_dir(path: Path) -> bool:
    """Return whether a path is a directory; False where the system cannot tell."""
    try:
        return path.resolve().is_dir()
    except OSError:
        return False


def resolve_reload_patterns(patterns_list: list[str], directories_list: list[str]) -> tuple[list[str], list[Path]]:
    """Return the patterns without repetitions, and the directories that they and the other list name, as in uvicorn.

    The directories are resolved, and those inside others are left out.
    """
    directories = outermost(directories_of(directories_list) + directories_matching(patterns_list))
    return list(dict.fromkeys(patterns_list)), directories


def is_within(path: Path, directories: Iterable[Path]) -> bool:
    """Return whether a path is one of the directories or inside one."""
    return any(each == path or each in path.parents for each in directories)
