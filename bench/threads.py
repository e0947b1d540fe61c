"""What workers as threads cost beside processes: `python3.14t -m bench.threads`, for a Python without a global lock.

Servers take turns, and respond to wrk from a FastAPI endpoint that computes. Measured are the rate, the CPU time a
request of all processes of the server, and how many connections the busier worker has; and the proportional set size of
servers with four workers, once all have responded. Peers are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.preload import ask, proportional, tree

APPLICATION = """
import threading
from fastapi import FastAPI

app = FastAPI()

@app.get("/")
async def root(number: int = 300):
    total = 0
    for each in range(number):
        total += each * each % 7
    return {"total": total, "worker": threading.get_native_id()}
"""
BIND = ("--host", "127.0.0.1", "--port")
FASTSERVE = ("-m", "fastserve", "threads_application:app", "--no-access-log", "--log-level", "warning")
SERVERS = {
    "fastserve, threads": (*FASTSERVE, "--worker-class", "thread"),
    "fastserve, threads, --reuse-port": (*FASTSERVE, "--worker-class", "thread", "--reuse-port"),
    "fastserve, processes": FASTSERVE,
    "granian, threads": (
        "-m",
        "granian",
        "threads_application:app",
        "--interface",
        "asgi",
        "--no-access-log",
        "--loop",
        "uvloop",
    ),
    "peregrine, threads": ("-m", "peregrine", "threads_application:app", "--free-threaded"),
}
START_SECONDS = 60
CONNECTIONS = 64


@contextmanager
def running(options: tuple[str, ...], workers: int) -> Iterator[tuple[int, int]]:
    """Start a server; yield its process id and its port."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "threads_application.py").write_text(APPLICATION)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        argv = [sys.executable, *options, "--workers", str(workers), *BIND, str(port)]
        server = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + START_SECONDS
            while len(spread(port, 20)) < min(workers, 2):
                if time.monotonic() > end or server.poll() is not None:
                    raise SystemExit(f"not all workers serve: {' '.join(argv)}")
                time.sleep(0.1)
            ask(port)
            yield server.pid, port
        finally:
            server.terminate()
            server.wait()


def spread(port: int, connections: int) -> Counter[bytes]:
    """Return how many of so many connections, opened at once, each worker has."""
    found: Counter[bytes] = Counter()
    clients = []
    for _ in range(connections):
        try:
            clients.append(socket.create_connection(("127.0.0.1", port)))
        except OSError:
            continue
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
    for client in clients:
        client.settimeout(START_SECONDS)
        if match := re.search(rb'"worker":(\d+)', client.recv(4096)):
            found[match[1]] += 1
        client.close()
    return found


def used(pid: int) -> float:
    """Return the CPU time of all processes of a server, in seconds."""
    seconds = 0.0
    for each in tree(pid):
        for task in Path(f"/proc/{each}/task").iterdir():
            seconds += int((task / "schedstat").read_text("ascii").split()[0]) / 1e9
    return seconds


def load(pid: int, port: int, seconds: int) -> tuple[float, float]:
    """Return requests a second, and CPU time a request in microseconds."""
    before = used(pid)
    argv = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", str(seconds), f"http://127.0.0.1:{port}/"]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    after = used(pid)
    count, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec: +([\d.]+)", text)
    assert count and rate, text
    return float(rate[1]), (after - before) / int(count[1]) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3.14t -m bench.threads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--servers", default="", help="those whose name contains this")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed")
    lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"Python {sys.version.split()[0]}, global lock {'on' if lock else 'off'}, {os.cpu_count()} processors")
    names = [each for each in SERVERS if given.servers in each]
    names = [each for each in names if importlib.util.find_spec(each.partition(",")[0]) is not None]
    for name in names:
        with running(SERVERS[name], 4) as (pid, _):
            print(f"{name:34} 4 workers {sum(map(proportional, tree(pid))) / 2**20:6.0f} MiB", flush=True)
    rates: dict[str, list[float]] = {name: [] for name in names}
    costs: dict[str, list[float]] = {name: [] for name in names}
    shares: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(given.rounds):
        for name in names:
            with running(SERVERS[name], 2) as (pid, port):
                rate, cost = load(pid, port, given.seconds)
                rates[name].append(rate)
                costs[name].append(cost)
                found = spread(port, CONNECTIONS)
                shares[name].append(max(found.values()) / found.total())
    for name in names:
        rate, cost, share = (statistics.median(each[name]) for each in (rates, costs, shares))
        print(f"{name:34} 2 workers {rate:7.0f}/s {cost:6.1f} µs a request, {share:.2f} of connections at one worker")


if __name__ == "__main__":
    main()
