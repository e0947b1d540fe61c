"""python -m bench.fanout: processor time of the server a delivered message, beside a bare loop of send(2) and others.

The server has one processor and the receiver, in C, another. The next message goes when the last client has the one
before.
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

from bench.fanout.libraries import SOCKETIO_FIRST, SOCKETIO_PATH

WARM = 3  # rounds that are not counted
HERE = Path(__file__).parent
ROWS = {
    "floor": "send(2) in C",
    "fastserve-topics": "fastserve, topics",
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


def measure(row: str, receiver: Path, clients: int, size: int, burst: int, rounds: int) -> tuple[float, float, float]:
    """Return microseconds a delivery, and p50 and p99 of the milliseconds until the last client has it."""
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    argv = [sys.executable, "-m", "bench.fanout.server", row, *map(str, (clients, size, burst, WARM))]
    with subprocess.Popen(["taskset", "-c", str(first), *argv], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port, control = server.stdout.readline().split()
        stream = row in ("fastserve-stream", "uvicorn-queue")
        payload = len(b"%x\r\n" % (size + 4)) + size + 4 + 2 if stream else size
        path, opening = (SOCKETIO_PATH, SOCKETIO_FIRST) if "socketio" in row else ("/", "")
        words = (port, control, clients, path, int(not stream), payload * burst, rounds + WARM, opening)
        told = subprocess.run(
            ["taskset", "-c", str(last), receiver, *map(str, words)], stdout=subprocess.PIPE, text=True, check=True
        )
        seconds = float(server.stdout.readline())
    times = sorted(float(line) for line in told.stdout.split()[WARM:])
    return seconds / (rounds * clients * burst) * 1e6, statistics.median(times), times[int(len(times) * 0.99)]


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
        floor = 0.0
        rows = given.rows.split(",")
        if given.libraries:
            rows = ["floor", *LIBRARIES]
            os.environ["FANOUT_REDIS"] = stack.enter_context(redis(folder))
        print(f"{given.clients} clients, {given.size} bytes, {given.burst} a burst")
        print(f"{'':30} us a delivery  x floor  last client has it: p50 / p99 ms")
        for row in rows:
            cost, median, high = measure(row, receiver, given.clients, given.size, given.burst, given.rounds)
            floor = floor or cost
            print(
                f"{(ROWS | LIBRARIES)[row]:30} {cost:13.2f} {cost / floor:8.2f}  {median:.1f} / {high:.1f}", flush=True
            )


if __name__ == "__main__":
    main()
