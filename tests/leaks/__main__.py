"""The soak at length: many mixed requests to a real server, whose memory must be flat at the end.

    python -m tests.leaks --requests 500000 --seed 1 [argument of fastserve ...]

Exit code: 0 when nothing leaked, 1 with a line on what did.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]


def main() -> int:
    from leaks.check import Leak, check

    parser = argparse.ArgumentParser(prog="python -m tests.leaks", description="Soak a server and look for leaks.")
    parser.add_argument("--requests", type=int, default=500000)
    parser.add_argument("--seed", type=int, default=1)
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(Path(folder) / "log", options.requests, options.seed, arguments, points=10, say=print)
        except Leak as leak:
            print(f"LEAK: {leak}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
