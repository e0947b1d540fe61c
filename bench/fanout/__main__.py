"""python -m bench.fanout: processor time of the server a delivered message, beside a bare loop of send(2) and others.

The server has one processor and the receiver, in C, another. The next message goes when the last client has the one
before. The bare loop runs in each server's process in turns with it, over the same sockets: what else the machine does
disturbs both alike.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.fanout.libraries import SOCKETIO_FIRST, SOCKETIO_PATH

WARM = 3  # rounds that are not counted
HERE = Path(__file__).parent
ROWS = {
    "floor": "send(2) in C",
    "fastserve-topics": "fastserve, topics",
    "fastserve-topics-deflate": "fastserve, topics, deflated",
    "fastserve-each": "fastserve, a topic for each",
    "fastserve-stream": "fastserve, event streams",
    "uvicorn-queue": "uvicorn, streams of queues",
    "fastserve-loop": "fastserve, a loop of send()",
    "uvicorn-loop": "uvicorn, a loop of send()",
}
# Each pair is a library, and ours in its place.
LIBRARIES = {
    "uvicorn-channelsredis": "uvicorn, Channels over Redis",
    "fastserve-channelsredis": "fastserve, Channels over Redis",
    "fastserve-channels": "fastserve, TopicsLayer",
    "uvicorn-broadcaster": "uvicorn, broadcaster",
    "fastserve-broadcaster": "fastserve, broadcaster",
    "fastserve-broadcast": "fastserve, Broadcast",
    "uvicorn-socketioredis": "uvicorn, AsyncRedisManager",
    "fastserve-socketioredis": "fastserve, AsyncRedisManager",
    "fastserve-socketio": "fastserve, TopicsManager",
}


class Figures(NamedTuple):
    """Of a server and of the bare loop: microseconds a delivery, and milliseconds until the last client has it."""

    cost: float
    bare: float
    times: list[float]
    bare_times: list[float]


def measure(row: str, receiver: Path, clients: int, size: int, burst: int, rounds: int) -> Figures:
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    argv = [sys.executable, "-m", "bench.fanout.server", row, *map(str, (clients, size, burst, WARM))]
    with subprocess.Popen(["taskset", "-c", str(first), *argv], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port, control = server.stdout.readline().split()
        path, opening = (SOCKETIO_PATH, SOCKETIO_FIRST) if "socketio" in row else ("/", "")
        extensions = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if "deflate" in row else ""
        if row in ("fastserve-stream", "uvicorn-queue"):
            extensions = "-"
        words = (port, control, clients, path, extensions, rounds + WARM, opening, 1)
        try:
            told = subprocess.run(
                ["taskset", "-c", str(last), receiver, *map(str, words)], stdout=subprocess.PIPE, text=True, check=True
            )
            spent = server.stdout.readline().split()
        finally:
            server.kill()
    cost, bare = (float(each) / (rounds * clients * burst) * 1e6 for each in spent[:2])
    lines = [line.split() for line in told.stdout.splitlines()[1 + WARM :]]
    return Figures(cost, bare, *(sorted(float(line[at]) for line in lines) for at in (0, 1)))


@contextlib.contextmanager
def redis(folder: str) -> Iterator[str]:
    """Run a Redis on a UNIX socket, and give its path."""
    path = Path(folder, "redis.sock")
    argv = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        try:
            while not path.exists():
                time.sleep(0.01)
            yield str(path)
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fanout", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--size", type=int, default=132, help="bytes of a frame (default: 132, of 128 bytes of text)")
    parser.add_argument("--burst", type=int, default=1, help="messages that are published at once")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--libraries", action="store_true", help="the rows of libraries, all over one Redis")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        receiver = Path(folder, "receiver")
        subprocess.run(["gcc", "-O2", "-o", receiver, HERE / "receiver.c"], check=True)
        rows = given.rows.split(",")
        if given.libraries:
            rows = ["floor", *LIBRARIES]
            os.environ["FANOUT_REDIS"] = stack.enter_context(redis(folder))
        print(f"{given.clients} clients, {given.size} bytes, {given.burst} a burst")
        print(f"{'':30} us a delivery  bare loop  x bare  last client has it, p50 / p99 ms  bare loop")
        for row in rows:
            found = measure(row, receiver, given.clients, given.size, given.burst, given.rounds)
            times, bare_times = (
                f"{statistics.median(each):.1f} / {each[int(len(each) * 0.99)]:.1f}"
                for each in (found.times, found.bare_times)
            )
            print(
                f"{(ROWS | LIBRARIES)[row]:30} {found.cost:13.2f} {found.bare:10.2f}"
                f" {found.cost / found.bare:7.2f}  {times:>32}  {bare_times}",
                flush=True,
            )


if __name__ == "__main__":
    main()
