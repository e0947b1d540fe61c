"""How many processors this process may use: by its CPU affinity, and by the CPU quotas of its control groups.

os.process_cpu_count() does not know of quotas: in a container of 2 CPUs it returns the number of the host's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

ROOT = "/"  # what the paths begin with: tests have trees of their own
CGROUPS = "sys/fs/cgroup"
OWN_GROUPS = "proc/self/cgroup"
V1_FOLDERS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")  # where distributions mount the controller `cpu` of version 1


def usable() -> int:
    """Return how many processors this process may use, at least 1: for WORKERS workers to be busy at a time."""
    quota = cpu_quota()
    return max(1, affinity() if quota is None else min(affinity(), math.ceil(quota)))


def affinity() -> int:
    """Return the number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota() -> float | None:
    """Return the least quota of this process's control groups in processors, None without a limit."""
    return min(quotas(), default=None)


def quotas() -> Iterator[float]:
    for line in read(OWN_GROUPS).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for mount in (CGROUPS, f"{CGROUPS}/unified"):
                for folder in upwards(mount, path):
                    yield from quota(*read(f"{folder}/cpu.max").split()[:2])
        elif "cpu" in controllers.split(","):
            for mount in V1_FOLDERS:
                for folder in upwards(f"{CGROUPS}/{mount}", path):
                    yield from quota(read(f"{folder}/cpu.cfs_quota_us"), read(f"{folder}/cpu.cfs_period_us"))


def upwards(mount: str, path: str) -> Iterator[str]:
    """Yield the folders of a group and of those that it is in; the groups above limit it as well.

    In a container the path may be the host's, of which only the end of the walk, the mount itself, exists.
    """
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for count in range(len(parts), -1, -1):
        yield "/".join([mount, *parts[:count]])


def quota(limit: str = "", period: str = "") -> Iterator[float]:
    """Yield the processors that a quota and its period in microseconds stand for; nothing for "max", -1 and absence."""
    try:
        number, length = int(limit), int(period)
    except ValueError:
        return
    if number > 0 and length > 0:
        yield number / length


def read(path: str) -> str:
    """Return what a file below ROOT holds, "" if it cannot be read."""
    try:
        with open(os.path.join(ROOT, path), encoding="ascii", errors="replace") as file:  # noqa: PTH118, PTH123
            return file.read()
    except OSError:
        return ""
