"""--workers auto: the processors that affinity and control groups allow, from files as the kernel has them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import support

from fastserve.options import processors

ALL = processors.affinity()


def tree(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return root


V1_OWN = "4:memory:/x\n3:cpu,cpuacct:/docker/abc"
V1 = "sys/fs/cgroup/cpu,cpuacct"
QUOTAS: list[tuple[str, dict[str, str], float | None]] = [
    ("no cgroups", {}, None),
    ("v2, without a limit", {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
    ("v2, a container's own view", {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
    ("v2, the host's path", {"proc/self/cgroup": "0::/docker/abc", "sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
    ("v2, a path above", {"proc/self/cgroup": "0::/../other", "sys/fs/cgroup/other/cpu.max": "300000 100000"}, 3),
    (
        "v2, the least of those above",
        {
            "proc/self/cgroup": "0::/a.slice/b.service",
            "sys/fs/cgroup/a.slice/cpu.max": "200000 100000",
            "sys/fs/cgroup/a.slice/b.service/cpu.max": "max 100000",
        },
        2,
    ),
    ("v2, nothing to read", {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": ""}, None),
    (
        "v1",
        {
            "proc/self/cgroup": V1_OWN,
            f"{V1}/docker/abc/cpu.cfs_quota_us": "250000",
            f"{V1}/docker/abc/cpu.cfs_period_us": "100000",
        },
        2.5,
    ),
    (
        "v1, a container's own view",
        {"proc/self/cgroup": V1_OWN, f"{V1}/cpu.cfs_quota_us": "10000", f"{V1}/cpu.cfs_period_us": "50000"},
        0.2,
    ),
    (
        "v1, without a limit",
        {"proc/self/cgroup": V1_OWN, f"{V1}/cpu.cfs_quota_us": "-1", f"{V1}/cpu.cfs_period_us": "100000"},
        None,
    ),
    (
        "v1 under another name, v2 without the controller",
        {
            "proc/self/cgroup": "2:cpuacct:/\n1:cpu:/\n0::/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        1,
    ),
    ("cpuset is another controller", {"proc/self/cgroup": "2:cpuset:/", "sys/fs/cgroup/cpu.max": "1 1"}, None),
]


@pytest.mark.parametrize(("files", "quota"), [case[1:] for case in QUOTAS], ids=[case[0] for case in QUOTAS])
def test_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], quota: float | None) -> None:
    monkeypatch.setattr(processors, "ROOT", str(tree(tmp_path, files)))
    assert processors.cpu_quota() == quota
    assert processors.usable() == (ALL if quota is None else min(ALL, max(1, -(-quota // 1))))


def test_affinity_of_the_command(tmp_path: Path) -> None:
    """One processor of the mask and a quota of many: one worker, which needs no parent."""
    mask = 1 if hasattr(os, "sched_setaffinity") else 0
    files = {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "9000000 100000"}
    assert print_config(tmp_path, files, mask) == (mask or min(ALL, 90))


def test_quota_of_the_command(tmp_path: Path) -> None:
    """A quota of half a processor and a mask of all: one worker. Without a quota as many as in the mask."""
    assert print_config(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"}) == 1
    assert print_config(tmp_path, {"sys/fs/cgroup/cpu.max": "max 100000"}) == ALL


def print_config(folder: Path, files: dict[str, str], mask: int = 0) -> int:
    """Return the workers of a command with --workers auto whose files of the kernel are in `folder`."""
    narrow = f"import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{mask}])\n" if mask else ""
    program = (
        f"{narrow}from fastserve.options import processors\nprocessors.ROOT = {str(tree(folder, files))!r}\n"
        "from fastserve.cli import main\nmain()\n"
    )
    arguments = ["a:b", "--no-config", "--workers", "auto", "--print-config"]
    process = support.Command([sys.executable, "-c", program, *arguments])
    try:
        assert process.wait() == 0, process.output
        return int(process.wait_line(r"^workers = (\d+)  # from command$")[1])
    finally:
        process.close()


@pytest.mark.parametrize("variable", ["FASTSERVE_WORKERS", "WEB_CONCURRENCY"])
def test_auto_in_the_environment(command: support.StartCommand, tmp_path: Path, variable: str) -> None:
    process = command("a:b", "--print-config", env={variable: "auto"}, cwd=tmp_path)
    assert process.wait() == 0
    assert f"workers = {processors.usable()}  # from environment" in process.lines


def test_neither_a_number_nor_auto(command: support.StartCommand) -> None:
    process = command("a:b", "--workers", "many")
    assert process.wait() == 2
    assert process.lines[-1] == "Error: Invalid value for '--workers': 'many': expected a whole number or auto."
