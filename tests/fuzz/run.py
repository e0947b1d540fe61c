"""One run of one target: its folders, its process, and what came out of it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from fuzz import build
from fuzz.target import Target

CHILD = Path(__file__).parent / "child.py"
SLOW_SECONDS = 10  # for one input; more is a finding
MEGABYTES = 4096  # of memory; more is a finding
INTERRUPTED = 72  # libFuzzer's exit code
COVERAGE = re.compile(r"\b(INITED|DONE|NEW|REDUCE|RELOAD|pulse) +cov: (\d+) ft: (\d+)")
DONE = re.compile(r"stat::number_of_executed_units: (\d+)")


class Outcome(NamedTuple):
    seconds: float
    executions: int
    coverage: int  # edges reached
    new_coverage: int  # edges that no earlier input, seeds and those kept of other runs, had reached
    kept: int  # inputs kept for the next run, since they reach something new
    findings: list[Path]
    interrupted: bool
    log: Path


def quoted(word: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"'


def folder(target: Target, name: str) -> Path:
    made = build.HOME / target.name / name
    made.mkdir(parents=True, exist_ok=True)
    return made


def write_seeds(target: Target) -> Path:
    seeds = folder(target, "seeds")
    for seed in target.seeds():
        (seeds / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    return seeds


def command(target: Target, *arguments: str) -> list[str]:
    return [sys.executable, str(CHILD), target.name, *arguments]


def run(target: Target, seconds: int, seed: int = 0) -> Outcome:
    """Fuzz for so long, or up to the first finding; with a seed other than 0, with the same inputs each time."""
    found, corpus, seeds = folder(target, "found"), folder(target, "corpus"), write_seeds(target)
    known = set(found.iterdir())
    kept = len(list(corpus.iterdir()))
    words = build.HOME / target.name / "words"
    words.write_text("\n".join(map(quoted, target.words)), "ascii")
    log = build.HOME / target.name / "log"
    began = time.monotonic()
    with log.open("wb") as file:
        arguments = [
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-max_len={target.max_size}",
            f"-dict={words}",
            f"-artifact_prefix={found}/",
            f"-timeout={SLOW_SECONDS}",
            f"-rss_limit_mb={MEGABYTES}",
            "-print_final_stats=1",
        ]
        process = subprocess.Popen(
            command(target, *arguments, str(corpus), str(seeds)),
            env=build.environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            code = process.wait(seconds + 300)
        finally:
            process.kill()
            process.wait()
    text = log.read_text("utf-8", "replace")
    executions = DONE.search(text)
    coverage = [int(match[2]) for match in COVERAGE.finditer(text)]
    findings = sorted(set(found.iterdir()) - known)
    interrupted = code == INTERRUPTED
    if executions is None or (bool(findings) != bool(code) and not interrupted) or not (coverage or findings):
        raise build.Unusable(f"the target did not run as it should (exit {code}):\n{text[-3000:]}")
    return Outcome(
        time.monotonic() - began,
        int(executions[1]),
        coverage[-1] if coverage else 0,
        coverage[-1] - coverage[0] if coverage else 0,
        len(list(corpus.iterdir())) - kept,
        findings,
        interrupted,
        log,
    )


def fails(target: Target, data: bytes) -> str:
    """What a process says that fails on this input; nothing where it does not fail."""
    file = build.HOME / target.name / "try"
    file.write_bytes(data)
    try:
        done = subprocess.run(
            command(target, str(file)),
            env=build.environment(),
            capture_output=True,
            timeout=4 * SLOW_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it takes too long"
    return (done.stdout + done.stderr).decode("utf-8", "replace") if done.returncode else ""


def minimised(target: Target, data: bytes, seconds: float) -> bytes:
    """Return the shortest input found in that time, by leaving out parts, that still fails."""
    deadline = time.monotonic() + seconds
    size = max(len(data) // 2, 1)
    while time.monotonic() < deadline:
        at = 0
        before = len(data)
        while at < len(data) and time.monotonic() < deadline:
            shorter = data[:at] + data[at + size :]
            if fails(target, shorter):
                data = shorter
            else:
                at += size
        if size == 1 and len(data) == before:
            break
        size = max(size // 2, 1)
    return data
