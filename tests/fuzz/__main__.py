"""Coverage-guided fuzzing of the compiled core under sanitizers.

    python -m tests.fuzz TARGET --seconds 1800     build, make inputs up for that long, stop at the first finding
    python -m tests.fuzz all --seconds 30          each target for that long
    python -m tests.fuzz TARGET --again FILE       give it one input again, and show what it says

Exit code: 0 nothing found, 1 a finding, 2 a bad argument, 3 the machine lacks something, the build fails, or the run
was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuzz.target import Target

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

MINIMISE_SECONDS = 120.0


def show_finding(target: Target, finding: Path) -> None:
    from fuzz import run

    data = finding.read_bytes()
    said = run.fails(target, data)
    if said:
        data = run.minimised(target, data, MINIMISE_SECONDS)
        said = run.fails(target, data) or said
    smallest = finding.with_suffix(".min")
    smallest.write_bytes(data)
    print(said[-4000:] or "(it does not fail when it is given the input alone)")
    print(f"{smallest}: {len(data)} bytes: {data!r}")


def fuzz(target: Target, seconds: int, seed: int) -> int:
    """Run one target and print what came out of it; return the exit code."""
    from fuzz import run

    outcome = run.run(target, seconds, seed)
    for finding in outcome.findings:
        show_finding(target, finding)
    print(
        f"{target.name}: {outcome.executions} executions in {outcome.seconds:.0f} s, {outcome.coverage} edges, "
        f"{outcome.new_coverage} of them new, {outcome.kept} inputs kept, {len(outcome.findings)} findings"
        f"{', INTERRUPTED' if outcome.interrupted else ''} (log: {outcome.log})",
        flush=True,
    )
    if outcome.findings:
        return 1
    return 3 if outcome.interrupted else 0


def main() -> int:
    from fuzz import build, run
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the compiled core.")
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=60, help="how long [default: 60]")
    parser.add_argument("--seed", type=int, default=0, help="make the same inputs up each time [default: others]")
    parser.add_argument("--again", type=Path, metavar="FILE", help="only give the target this input")
    options = parser.parse_args()
    targets = [TARGETS[options.target]] if options.target in TARGETS else list(TARGETS.values())
    try:
        build.build()
        if options.again is not None:
            said = [run.fails(target, options.again.read_bytes()) for target in targets]
            print("\n".join(filter(None, said)) or "nothing is wrong with this input")
            return 1 if any(said) else 0
        return max([fuzz(target, options.seconds, options.seed) for target in targets])
    except build.Unusable as error:
        print(f"fuzz: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
