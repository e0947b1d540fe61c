"""wsgi.file_wrapper: with it an application returns a file instead of pieces."""

from __future__ import annotations

import io
import os
import stat
from typing import Any

BLOCK = 131072  # bytes per read, unless the application asks for more


class FileWrapper:
    """The pieces of a file from its position on; `close` is the file's, if it has one."""

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:
        self.filelike = filelike
        self.blksize = max(blksize, BLOCK)
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.filelike.read(self.blksize)
        if not block:
            raise StopIteration
        return block

    def extent(self) -> tuple[int, int] | None:
        """Return position and number of remaining bytes, None for anything but a plain regular file."""
        try:
            if not is_plain(self.filelike):
                return None
            status = os.fstat(self.filelike.fileno())
            position: int = self.filelike.tell()
        except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is an OSError
            return None
        # The size of a file without blocks, as in /proc and /sys, is not that of its content.
        if not stat.S_ISREG(status.st_mode) or status.st_blocks == 0:
            return None
        return position, max(status.st_size - position, 0)


def is_plain(filelike: Any) -> bool:
    """Return whether reading `filelike` gives the bytes of its descriptor: a GzipFile has one, but gives others."""
    if type(filelike) in (io.BufferedReader, io.BufferedRandom):
        filelike = filelike.raw
    return type(filelike) is io.FileIO
