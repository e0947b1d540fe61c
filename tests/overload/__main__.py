"""Many idle connections: what each takes of memory, and whether others are served.

python -m tests.overload --connections 10000 [argument of fastserve ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]


def main() -> None:
    from load import LoadedServer
    from overload.idle import check_idle

    parser = argparse.ArgumentParser(prog="python -m tests.overload", description="Measure idle connections.")
    parser.add_argument("--connections", type=int, default=10000)
    options, arguments = parser.parse_known_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        LoadedServer(Path(folder) / "log", "--timeout-keep-alive", "600", *arguments) as server,
    ):
        server.state()
        check_idle(server, options.connections, print)


if __name__ == "__main__":
    main()
