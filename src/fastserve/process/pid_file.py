"""The pid file."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


class PidFile:
    """The file of this process, once it is written()."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()  # the application may change the directory

    @classmethod
    def written(cls, path: str | os.PathLike[str], predecessor: int | None = None) -> PidFile:
        """Write this process's id to a file. Raises OSError on failure, or if it names another running process.

        The file may name the `predecessor`, which this process replaces.
        """
        file = cls(path)
        if predecessor is None or file.owner() != predecessor:
            file.check()
        partial = file.path.with_name(f"{file.path.name}.{os.getpid()}")
        try:
            partial.write_text(f"{os.getpid()}\n", encoding="ascii")
            partial.replace(file.path)  # readers never see a partial file
        except OSError as exc:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise OSError(exc.errno, f"cannot write pid file {str(file.path)!r}: {exc.strerror}") from None
        return file

    def check(self) -> None:
        """Raise OSError if the file names another running process."""
        owner = self.owner()
        if owner is not None and owner != os.getpid() and is_running(owner):
            raise OSError(
                errno.EEXIST, f"pid file {str(self.path)!r} belongs to running process {owner}: stop it first"
            )

    def owner(self) -> int | None:
        """Return the process id in the file; None without a file or an id."""
        try:
            return int(self.path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def remove(self) -> None:
        """Remove the file, unless it is gone or names another process."""
        with contextlib.suppress(OSError):
            if self.owner() == os.getpid():
                self.path.unlink()


def is_running(pid: int) -> bool:
    if os.name != "posix":
        return False  # os.kill would end the process there
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0
