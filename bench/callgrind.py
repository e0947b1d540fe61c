"""`python -m bench.callgrind`: instructions an exchange, counted by valgrind, so the same on a busy machine.

Each exchange of bench/exchanges.py is served N and 2N times by a process of its own; the difference, by N, is the cost
of one, without the interpreter's start. Exit code 1 when a count has grown past its budget, 2 on wrong input.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.exchanges import BY_NAME

_ROOT = Path(__file__).resolve().parents[1]
_CLOCK = Path(__file__).with_name("clock.c")
_CONNECTIONS = 20
_ROUNDS = 10
_WARM_ROUNDS = 5
_SECONDS = 300
_MISSING = "valgrind is not installed: `apt install valgrind` or `dnf install valgrind`."
_COLLECTED = re.compile(rb"Collected\s*:\s*(\d+)")


class Failed(Exception):
    """Valgrind or the process under it did not give a count; the text says why."""


def serve(name: str, rounds: int) -> None:
    """What runs under valgrind: the exchange on 20 connections, so many times after a warm-up."""
    from bench.harness import Harness  # the parent does without the compiled core

    with Harness(BY_NAME[name], _CONNECTIONS) as harness:
        harness.run(_WARM_ROUNDS)
        gc.collect()
        gc.freeze()  # else the collections of a longer run walk the interpreter's own objects more often
        harness.run(rounds)


def build_clock(folder: Path) -> Path:
    """The library whose clock the counted process reads, see clock.c. Failed without a C compiler."""
    library = folder / "clock.so"
    command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", str(library), str(_CLOCK)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"cannot compile {_CLOCK.name}, is there a C compiler? {error}") from error
    return library


def instructions(name: str, rounds: int, profile: Path, clock: Path) -> int:
    """Instructions of a process that serves the exchange; callgrind's profile goes to the path. Failed if it fails."""
    command = [
        "valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", sys.executable, "-m", "bench.callgrind",
        "--serve", name, str(rounds),
    ]  # fmt: skip
    # With hash seeds at random, dicts collide by chance and the counts differ from run to run.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "LD_PRELOAD": str(clock)}
    result = subprocess.run(
        command,
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    found = _COLLECTED.search(result.stderr)
    if result.returncode or found is None:
        own = [
            line for line in result.stderr.decode(errors="replace").splitlines() if line and not line.startswith("==")
        ]
        raise Failed(f"{name}: valgrind exited with code {result.returncode}: {own[-1] if own else 'no output'}")
    return int(found[1])


def per_exchange(name: str, folder: Path, clock: Path) -> int:
    """Instructions that one exchange of this kind takes. Failed as instructions()."""
    once = instructions(name, _ROUNDS, Path(os.devnull), clock)
    twice = instructions(name, 2 * _ROUNDS, folder / f"callgrind.{name}.out", clock)
    return round((twice - once) / (_ROUNDS * _CONNECTIONS))


def build() -> dict[str, str]:
    """What the counts depend on beside the code: they compare between equal interpreters and processors only."""
    return {"python": platform.python_version(), "machine": platform.machine()}


def over_budget(counts: Mapping[str, int], budget: Mapping[str, int], tolerance: float) -> list[str]:
    """A sentence for each count that is more than `tolerance` percent above its budget."""
    return [
        f"{name}: {count:,} instructions are {(count / budget[name] - 1):+.1%} on the budget of {budget[name]:,}"
        for name, count in counts.items()
        if name in budget and count > budget[name] * (1 + tolerance / 100)
    ]


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)} (choose from {', '.join(BY_NAME)})")
    return names


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.callgrind", description="Counts instructions an exchange.")
    parser.add_argument("--exchanges", type=_names, default=list(BY_NAME), metavar="A,B", help="default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts to FILE")
    parser.add_argument("--against", type=Path, metavar="FILE", help="fail when a count is above that of FILE")
    parser.add_argument(
        "--tolerance", type=float, default=2.0, metavar="PERCENT", help="by more than this (default: 2)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at a time (default: 1)")
    parser.add_argument(
        "--profiles", type=Path, default=_ROOT / "build" / "bench", metavar="DIR",
        help="folder for the profiles that callgrind_annotate reads (default: build/bench)",
    )  # fmt: skip
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _budget(path: Path) -> dict[str, int]:
    """The counts of a file that --json wrote. Failed when they were made with another interpreter or processor."""
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        if document["build"] != build():
            raise Failed(f"{path} has counts for {document['build']}, this is {build()}")
        return {name: int(count) for name, count in document["instructions"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"{path} has no counts: {error!r}") from error


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    if options.serve:
        serve(options.serve[0], int(options.serve[1]))
        return 0
    try:
        if shutil.which("valgrind") is None:
            raise Failed(_MISSING)
        budget = _budget(options.against) if options.against else {}
        options.profiles.mkdir(parents=True, exist_ok=True)
        counts = _count(options.exchanges, options.profiles, options.jobs, budget)
    except (Failed, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps({"build": build(), "instructions": counts}, indent=1) + "\n")
    complaints = over_budget(counts, budget, options.tolerance)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def _count(names: Sequence[str], folder: Path, jobs: int, budget: Mapping[str, int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    print(f"{'exchange':18}{'instructions':>14}" + (f"{'budget':>14}" if budget else ""))
    with tempfile.TemporaryDirectory(prefix="fastserve-bench-") as temporary, ThreadPoolExecutor(jobs) as pool:
        clock = build_clock(Path(temporary))
        for name, count in zip(names, pool.map(lambda name: per_exchange(name, folder, clock), names), strict=True):
            counts[name] = count
            allowed = f"{budget[name]:>14,}  {count / budget[name] - 1:+.1%}" if name in budget else ""
            print(f"{name:18}{count:>14,}{allowed}", flush=True)
    return counts


if __name__ == "__main__":
    sys.exit(main())
