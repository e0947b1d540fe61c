"""What a load generator tells: the figures of one run, on one line of JSON among whatever else it prints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.load.process import Failed, spawn, stop

MARK = "figures "
_GRACE = 30.0  # seconds that a generator may go on after its time


@dataclass(frozen=True)
class Errors:
    """What went wrong, as the generator counts it; `status` is answers that are not what was asked for."""

    connect: int = 0
    read: int = 0
    write: int = 0
    timeout: int = 0
    status: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in asdict(self).items() if count)


@dataclass(frozen=True)
class Load:
    """The outcome of one run: requests or messages answered, seconds, latencies in milliseconds, None where unknown."""

    requests: int
    seconds: float
    p50: float | None
    p99: float | None
    p999: float | None
    errors: Errors


def run(command: Sequence[str | Path], seconds: float, core: int | None) -> Load:
    """Runs the generator on a core. Failed when it fails, hangs or prints no figures."""
    output, code = printed(command, seconds, core)
    return _parse(Path(command[0]).name, output, code)


def printed(command: Sequence[str | Path], seconds: float, core: int | None) -> tuple[str, int]:
    """Runs a program on a core, which takes about that long; returns all that it prints, and its exit code."""
    name = Path(command[0]).name
    process = spawn([str(part) for part in command], core, subprocess.PIPE, {})
    try:
        output, _ = process.communicate(timeout=seconds + _GRACE)
    except subprocess.TimeoutExpired:
        raise Failed(f"{name} did not stop {_GRACE:.0f} s after its time") from None
    finally:
        stop(process)
    return output.decode(errors="replace"), process.returncode


def _parse(name: str, output: str, code: int) -> Load:
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if code or line is None:
        raise Failed(f"{name} exited with code {code}: {output.strip().splitlines()[-1:] or 'no output'}")
    figures: dict[str, int] = json.loads(line[len(MARK) :])
    p50, p99, p999 = (figures[key] / 1e3 for key in ("p50", "p99", "p999"))
    return Load(
        requests=figures["requests"],
        seconds=figures["microseconds"] / 1e6,
        p50=p50,
        p99=p99,
        p999=p999,
        errors=Errors(*(figures[key] for key in ("connect", "read", "write", "timeout", "status"))),
    )
