"""The files of rows that a server serves without an application, made anew for each run."""

from __future__ import annotations

import atexit
import functools
import tempfile
import time
from pathlib import Path

from bench.load import apps

# fastserve remembers no file that is younger than a step of its file system's clock can be, 2 s, as a second change
# within the step would not show. A request for 10 KiB costs three times as much then.
SETTLED = 2.5  # seconds
FILES = {"10k.bin": apps.MEGABYTE[:10240], "1m.bin": apps.MEGABYTE}


@functools.cache
def directory() -> str:
    """The directory of the files; it is gone when the process has ended."""
    made = tempfile.TemporaryDirectory(prefix="fastserve-bench-files-")
    atexit.register(made.cleanup)
    for name, content in FILES.items():
        (Path(made.name) / name).write_bytes(content)
    time.sleep(SETTLED)
    return made.name
