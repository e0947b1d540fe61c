"""The machine or container: limits of the kernel, processors, memory, the first process, the clock."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from fastserve.doctor.finding import FAIL, OK, WARN, Case, Finding
from fastserve.net.accepting import descriptor_limit
from fastserve.options import processors

RESERVED = 64  # descriptors for files, logs, listening sockets and the event loop
FEW, MANY = 512, 4096  # descriptors
SHM = "/dev/shm"
LITTLE = 16 * 2**20  # bytes free there
INITS = {"systemd", "init", "tini", "dumb-init", "docker-init", "catatonit", "s6-svscan", "runit", "launchd", "pause"}
SHELLS = {"sh", "bash", "dash", "ash"}
RELEASED = 1767225600  # 2026-01-01: no clock of a machine that runs this shows less
UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)


def descriptors(case: Case) -> Iterator[Finding]:
    """Compare the limit of open files with the connections that the options allow."""
    check = "file descriptors"
    limit = descriptor_limit()
    if not limit:
        yield Finding(OK, check, "no limit")
        return
    options = case.options
    name = "limit_connections" if options.limit_connections else "limit_concurrency"
    wanted = getattr(options, name)
    remedy = f"raise it by ulimit -n, LimitNOFILE= of systemd or --ulimit nofile= of docker{above(limit)}"
    if wanted and limit < wanted + RESERVED:
        option = f"--{name.replace('_', '-')}"
        text = f"{limit} for {option} {wanted}, which needs {wanted + RESERVED}"
        yield Finding(FAIL, check, text, f"{remedy}, or use {option} {max(limit - RESERVED, 1)}")
    elif limit < FEW:
        yield Finding(FAIL, check, f"{limit}, enough for {max(limit - RESERVED, 0)} connections", remedy)
    elif limit < MANY and not wanted:
        yield Finding(WARN, check, f"{limit}, enough for {limit - RESERVED} connections", remedy)
    else:
        yield Finding(OK, check, str(limit))


def above(limit: int) -> str:
    """Return what to say of a hard limit that allows more than the soft one."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return f" (up to {hard} without privileges)" if hard > limit else ""


def backlog(case: Case) -> Iterator[Finding]:
    """Compare --backlog with what the kernel queues."""
    queued = processors.read("proc/sys/net/core/somaxconn").strip()
    if not queued.isdecimal():
        return
    wanted = case.options.backlog
    if int(queued) < wanted:
        text = f"the kernel queues {queued} connections, not {wanted}"
        yield Finding(WARN, "backlog", text, f"set net.core.somaxconn to {wanted} by sysctl, or use --backlog {queued}")
    else:
        yield Finding(OK, "backlog", f"{wanted} connections can wait to be accepted")


def workers(case: Case) -> Iterator[Finding]:
    """Compare the number of workers with the processors there are to use."""
    usable, quota = processors.usable(), processors.cpu_quota()
    where = f"{usable} processor{'s' if usable > 1 else ''}{f' (quota {quota:g})' if quota is not None else ''}"
    text = f"{case.workers} on {where}"
    if case.workers > usable and case.options.workers_affinity:
        text = f"{text}, and --workers-affinity pins several to one"
        yield Finding(WARN, "workers", text, "use --workers auto, or leave out --workers-affinity")
    elif case.workers > usable:
        yield Finding(WARN, "workers", text, "use --workers auto")
    else:
        yield Finding(OK, "workers", text, "--workers auto would use all" if case.workers < usable else "")


def memory(case: Case) -> Iterator[Finding]:
    """Look for shared memory and anonymous files, which containers can lack."""
    if sys.platform != "linux":
        return
    check = "shared memory"
    missing = []
    try:
        os.close(os.memfd_create("fastserve"))
    except (OSError, AttributeError) as exc:
        why = (getattr(exc, "strerror", None) or str(exc)).lower()
        missing.append(Finding(WARN, check, f"memfd_create is refused ({why})", "use a seccomp profile that allows it"))
    try:
        found = os.statvfs(SHM)
        free = found.f_bavail * found.f_frsize
        if free < LITTLE:
            text = f"{free // 2**20} MiB are free in {SHM}"
            missing.append(Finding(WARN, check, text, "run the container with a larger --shm-size"))
    except OSError:
        missing.append(
            Finding(WARN, check, f"there is no {SHM}", "mount a tmpfs there: multiprocessing's locks need it")
        )
    yield from missing or [Finding(OK, check, "memfd_create works, and there is room in /dev/shm")]


def first_process(case: Case) -> Iterator[Finding]:
    """Look at process 1, which gets a container's signals and its orphans."""
    check = "process 1"
    words = processors.read("proc/1/cmdline").split("\0")
    name = os.path.basename(words[0].split(" ")[0]) or processors.read("proc/1/comm").strip()  # noqa: PTH119
    if not name:
        return
    if name in SHELLS and os.getpid() != 1:
        remedy = "start the server by exec, or CMD in its list form"
        yield Finding(WARN, check, f"{name} does not pass SIGTERM to the server", remedy)
    elif name.startswith(("python", "fastserve", "gunicorn", "uvicorn")) or os.getpid() == 1:
        remedy = "run the container with docker run --init, or under tini"
        yield Finding(WARN, check, f"{name} does not reap processes whose parent has ended", remedy)
    else:
        yield Finding(OK, check, f"{name}{'' if name in INITS else ', taken for an init'}")


def clock(case: Case) -> Iterator[Finding]:
    """Look whether the clock can be right, and whether the kernel takes it for right."""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if time.time() < RELEASED:
        yield Finding(FAIL, "clock", f"it shows {now}", "set it: certificates and cookies are not valid yet")
    elif synchronisation() == UNSYNCHRONISED:
        yield Finding(WARN, "clock", f"it shows {now}, and nothing keeps it right", "run chrony or systemd-timesyncd")
    else:
        yield Finding(OK, "clock", now)


def synchronisation() -> int:
    """Return the state of the kernel's clock by adjtimex(2), -1 where it cannot be asked."""
    if sys.platform != "linux":
        return -1
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
        return int(ask(ctypes.create_string_buffer(512)))  # a struct timex of zeros: nothing is changed
    return -1
