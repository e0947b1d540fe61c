"""The directory in which the processes of one server find one another: a UNIX socket of each."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

LONGEST = 80  # bytes of a path, so that those of sockets in it have at most 103 (sun_path on macOS)


def private(parent: int) -> Path:
    """Return the directory of the processes that `parent` has started; nobody else may use it."""
    name = f"fastserve-{os.getuid()}-{parent}"
    for base in (os.environ.get("XDG_RUNTIME_DIR") or "", tempfile.gettempdir()):
        if os.path.isdir(base) and len(os.fsencode(os.path.join(base, name))) <= LONGEST:  # noqa: PTH112, PTH118
            return Path(base, name)
    return Path("/tmp", name)  # prepare() refuses what others could have made


def prepare(path: Path) -> None:
    """Make the directory. Raises OSError where what is there is not ours alone."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{path}: not a directory")
    if found.st_uid != os.getuid():
        raise PermissionError(f"{path}: belongs to another user")
    if found.st_mode & 0o022:
        raise PermissionError(f"{path}: others can write to it")


def sockets(path: Path) -> list[Path]:
    """Return the sockets that processes can be reached at."""
    return sorted(each for each in path.iterdir() if each.name.endswith(".sock"))


def remove(path: Path) -> None:
    """Remove the directory if nobody uses it any more."""
    with contextlib.suppress(OSError):
        path.rmdir()
