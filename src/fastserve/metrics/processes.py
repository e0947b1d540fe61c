"""What the system says of a process: memory, CPU time, descriptors; and of a thread: CPU time."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from dataclasses import dataclass


@dataclass
class Reading:
    """What is known of a process; None is unknown."""

    cpu: float | None = None  # seconds
    rss: int | None = None  # bytes
    vsize: int | None = None
    start: float | None = None  # seconds since 1970
    open_fds: int | None = None
    max_fds: int | None = None


def reading_of(pid: int) -> Reading:
    """Read what Linux says of a process, or of a thread of this one; elsewhere only of this process, and less."""
    if sys.platform != "linux":
        return own_reading() if pid == os.getpid() else Reading()
    if pid != os.getpid() and (thread := reading_of_thread(pid)) is not None:
        return thread
    found = Reading()
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
        tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        found.cpu = (int(fields[11]) + int(fields[12])) / tick
        found.vsize, found.rss = int(fields[20]), int(fields[21]) * page
        found.start = booted() + int(fields[19]) / tick
    with contextlib.suppress(OSError):
        found.open_fds = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    with contextlib.suppress(ImportError, OSError):
        import resource

        found.max_fds = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    return found


def reading_of_thread(number: int) -> Reading | None:
    """Read what Linux says of a thread of this process, by its native id: its CPU time; None for no thread."""
    try:
        with open(f"/proc/self/task/{number}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return Reading(cpu=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))


def own_reading() -> Reading:
    found = Reading(cpu=time.process_time())
    with contextlib.suppress(ImportError, OSError):
        import resource

        found.max_fds = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with contextlib.suppress(OSError):
        found.open_fds = len(os.listdir("/dev/fd"))  # noqa: PTH208
    return found


@functools.cache
def booted() -> float:
    """Return when the system was booted, in seconds since 1970."""
    with open("/proc/stat", "rb") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(b"btime"):
                return float(line.split()[1])
    return 0.0
