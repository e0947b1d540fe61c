"""The long options of other servers; `python -m docs.record_peers SERVER` in tests/ records those of installed ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PEERS = Path(__file__).parent / "peers.json"


def options_of(text: str) -> list[str]:
    """Return the long options of a --help, in its order."""
    names = [re.split(r" {2,}", line.strip())[0] for line in text.splitlines() if re.match(r" {2}-", line)]
    found = dict.fromkeys(option for name in names for option in re.findall(r"--[\w-]+", name))
    return [option for option in found if option not in ("--help", "--version")]


def options_of_installed(server: str) -> list[str]:
    command = Path(sys.executable).parent / server
    done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60, check=True)
    return options_of(done.stdout)


if __name__ == "__main__":
    peers = json.loads(PEERS.read_text())
    for server in sys.argv[1:]:
        peers[server] = {"version": version(server), "options": options_of_installed(server)}
    PEERS.write_text(json.dumps(peers, indent=1) + "\n")
