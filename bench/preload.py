"""What --preload saves: `python -m bench.preload`, the memory of four workers whose application has 200,000 dicts.

Measured is the proportional set size of all processes of the server: memory that several share counts once. Each worker
has responded to requests before.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

APPLICATION = """
DATA = [{{"id": number, "name": f"name {{number}}"}} for number in range({dicts})]

async def app(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": DATA[-1]["name"].encode()}})
"""
REQUESTS = 100


def memory(workers: int, dicts: int, *options: str) -> int:
    """Return the proportional set size, in bytes, of a server with these options, once all of its workers serve."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "preload_application.py").write_text(APPLICATION.format(dicts=dicts))
        argv = [sys.executable, "-m", "fastserve", "preload_application:app", "--workers", str(workers), "--port", "0"]
        argv += ["--lifespan", "off", "--no-access-log", "--log-level", "debug", *options]
        server = subprocess.Popen(argv, cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            ask(serving(server, workers))
            return sum(map(proportional, tree(server.pid)))
        finally:
            server.terminate()
            server.communicate()


def serving(server: subprocess.Popen[str], workers: int) -> int:
    """Wait until all workers serve, and return the port."""
    assert server.stderr is not None
    port = ready = 0
    log = []
    for line in server.stderr:
        log.append(line)
        if match := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
            port = int(match[1])
        ready += "is ready." in line and "Child process" in line
        if ready == workers:
            return port
    raise SystemExit("".join(log))


def ask(port: int) -> None:
    for _ in range(REQUESTS):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while client.recv(4096):
                pass


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for each in (task / "children").read_text("ascii").split():
            yield from tree(int(each))


def proportional(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"process {pid} has no Pss")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.preload", description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--dicts", type=int, default=200_000)
    options = parser.parse_args()
    spawned = memory(options.workers, options.dicts)
    preloaded = memory(options.workers, options.dicts, "--preload")
    print(f"{options.workers} workers, {options.dicts} dicts, PSS of all processes ({os.uname().machine})")
    print(f"spawned    {spawned / 2**20:6.0f} MiB")
    print(f"--preload  {preloaded / 2**20:6.0f} MiB, {preloaded / spawned:.2f} of it")


if __name__ == "__main__":
    main()
