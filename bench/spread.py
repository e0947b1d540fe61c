"""How evenly workers share connections: one listening socket for all of them, or one for each (--reuse-port).

    python -m bench.spread [--workers 4] [--connections 400] [--seconds 3]

Opens connections that stay, as many as given, all at once or one after the other, and counts by process id who has
them; then keeps asking on new connections for some seconds and counts who answers. `worst` is the share of the busiest
worker, as a multiple of an even share.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import IO, Any

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n%s\r\n"
CLIENTS = 32


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Respond with the process id."""
    body = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def ask(port: int, close: bool) -> tuple[int, asyncio.StreamWriter]:
    """Return which process has a new connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST % (b"Connection: close\r\n" if close else b""))
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None, head
    return int(await reader.readexactly(int(length[1]))), writer


async def at_once(port: int, connections: int, seconds: float) -> list[int]:
    answers = await asyncio.gather(*(ask(port, False) for _ in range(connections)))
    for _, writer in answers:
        writer.close()
    return [pid for pid, _ in answers]


async def one_by_one(port: int, connections: int, seconds: float) -> list[int]:
    answers = [await ask(port, False) for _ in range(connections)]
    for _, writer in answers:
        writer.close()
    return [pid for pid, _ in answers]


async def new_ones(port: int, connections: int, seconds: float) -> list[int]:
    end = time.monotonic() + seconds
    pids: list[int] = []

    async def client() -> None:
        while time.monotonic() < end:
            pid, writer = await ask(port, True)
            pids.append(pid)
            writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return pids


WAYS: dict[str, Callable[[int, int, float], Coroutine[Any, Any, list[int]]]] = {
    "kept, all at once": at_once,
    "kept, one by one": one_by_one,
    f"new ones, {CLIENTS} clients": new_ones,
}


def started(workers: int, reuse_port: bool) -> tuple[subprocess.Popen[str], int]:
    """Start a server; return it and its port once all of its workers serve."""
    args = ["--workers", str(workers), "--port", "0", "--lifespan", "off", "--no-access-log", "--log-level", "debug"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastserve", "bench.spread:app", *args, *(["--reuse-port"] if reuse_port else [])],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    return process, port_of(process.stderr, workers)


def port_of(lines: IO[str], workers: int) -> int:
    port = ready = 0
    for line in lines:
        if match := re.search(r"running on http://\S+:(\d+)", line):
            port = int(match[1])
        ready += line.endswith("is ready.\n")
        if ready == workers:
            return port
    raise SystemExit("the server ended before its workers were ready")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.spread", description="How evenly workers share connections.")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--connections", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    print(f"{'sockets':<12}{'connections':<24}{'count':>7}  {'worst':>6}  by worker")
    for reuse_port in (False, True):
        process, port = started(given.workers, reuse_port)
        try:
            for name, way in WAYS.items():
                pids = asyncio.run(way(port, given.connections, given.seconds))
                counts = [count for _, count in collections.Counter(pids).most_common()]
                counts += [0] * (given.workers - len(counts))
                worst = counts[0] * given.workers / len(pids)
                kind = "each its own" if reuse_port else "one"
                print(f"{kind:<13}{name:<23}{len(pids):>7}  {worst:>5.2f}x  {counts}")
        finally:
            process.terminate()
            process.communicate(timeout=20)


if __name__ == "__main__":
    main()
