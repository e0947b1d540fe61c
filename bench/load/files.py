"""The files of rows that a server serves without an application, made anew for each run."""

from __future__ import annotations

import atexit
import functools
import tempfile
from pathlib import Path

from bench.load import apps

FILES = {"10k.bin": apps.MEGABYTE[:10240], "1m.bin": apps.MEGABYTE}


@functools.cache
def directory() -> str:
    """The directory of the files; it is gone when the process has ended."""
    made = tempfile.TemporaryDirectory(prefix="fastserve-bench-files-")
    atexit.register(made.cleanup)
    for name, content in FILES.items():
        (Path(made.name) / name).write_bytes(content)
    return made.name
