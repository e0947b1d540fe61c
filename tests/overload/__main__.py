"""The overload checks with many clients.

python -m tests.overload [--idle 10000] [--dribbling 2000] [--seconds 30] [--slow 500] [argument of fastserve ...]

Prints the memory that each client takes of the server. Exit code: 0 when all is within its bound, 1 with a line on what
is not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]


def main() -> int:
    from load import LoadedServer
    from overload import checks

    parser = argparse.ArgumentParser(prog="python -m tests.overload", description="Put load on a server.")
    parser.add_argument("--idle", type=int, default=10000, help="idle connections")
    parser.add_argument("--dribbling", type=int, default=2000, help="connections with a byte a second each")
    parser.add_argument("--seconds", type=int, default=30, help="how long those dribble")
    parser.add_argument("--slow", type=int, default=500, help="clients that do not read or write without an end")
    options, arguments = parser.parse_known_args()
    runs: list[Callable[[LoadedServer], None]] = [
        lambda server: checks.check_idle(server, options.idle, print),
        lambda server: checks.check_dribble(server, options.dribbling, options.seconds, 1.0, print),
        lambda server: checks.check_readers(server, options.slow, print),
        lambda server: checks.check_uploads(server, options.slow, print),
        lambda server: checks.check_pipelines(server, options.slow, print),
        lambda server: checks.check_unread_pipelines(server, options.slow, print),
    ]
    for run in runs:
        with (
            tempfile.TemporaryDirectory() as folder,
            LoadedServer(Path(folder) / "log", *checks.PATIENT, *arguments) as server,
        ):
            try:
                run(server)
            except AssertionError as error:
                print(f"OVERLOAD: {error}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
