"""What Linux tells about processes (tree, CPU time, memory, listening port) and about the machine."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU time of some processes so far, and how many of them the kernel took, by its coarser tick."""

    total: float
    system: float

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(self.total - other.total, self.system - other.system)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (proc(5) field 3); the name before it may hold blanks and brackets."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def tree(pid: int) -> list[int]:
    """The process and all that descend from it, parents first; empty when it is gone."""
    children: dict[int, list[int]] = {}
    alive = set()
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                member = int(entry.name)
                children.setdefault(int(_stat(member)[1]), []).append(member)
                alive.add(member)
    if pid not in alive:
        return []
    found = [pid]
    for member in found:
        found.extend(children.get(member, []))
    return found


def cpu(pids: list[int]) -> Cpu:
    """CPU time of all threads of the processes, those that have ended included. OSError when a process is gone."""
    total = system = 0.0
    for pid in pids:
        # The process's CPU clock (its id as clock_getcpuclockid(3) makes it) has nanoseconds, stat has ticks of 10 ms.
        total += time.clock_gettime(~pid << 3 | 2)
        system += int(_stat(pid)[12]) / _TICKS
    return Cpu(total, system)


def busy(core: int | None) -> float:
    """Seconds for which a core, or all of them for None, has run any process since the machine's start."""
    name = "cpu" if core is None else f"cpu{core}"
    line = next(line for line in (_PROC / "stat").read_text().splitlines() if line.split()[0] == name)
    user, nice, system, _idle, _wait, interrupt, soft_interrupt, stolen = (int(field) for field in line.split()[1:9])
    return (user + nice + system + interrupt + soft_interrupt + stolen) / _TICKS


def resident(pids: list[int]) -> int:
    """Resident memory of the processes in bytes."""
    pages = sum(int((_PROC / str(pid) / "statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


def listening_port(pids: list[int]) -> int | None:
    """The TCP port on which one of the processes listens, None as long as there is none."""
    ports: dict[str, int] = {}
    with (_PROC / "net" / "tcp").open() as lines:
        next(lines)
        for line in lines:
            fields = line.split()
            if fields[3] != _LISTEN:
                break  # they come first; thousands that wait for their end may follow after rows of new connections
            ports[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in (_PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    port = ports.get(str(entry.readlink()))
                    if port is not None:
                        return port
    return None


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Processes started inside run on this core alone, as a child inherits its parent's affinity; None: on any."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def two_cores() -> tuple[int | None, int | None]:
    """A core for the server and another for the load; None for both on a machine that gives just one."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


def describe() -> dict[str, str | int]:
    """Model, core count, kernel and interpreter of this machine."""
    model = platform.machine()
    for line in (_PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count() or 1,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
