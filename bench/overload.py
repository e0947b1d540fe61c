"""What servers do when clients ask for more than their application can do.

    python -m bench.overload [--seconds 10] [--servers fastserve-queue,uvicorn-limit] [--out FILE]

The application has a pool of 10 connections that each request needs for 50 ms, so it can do 200 requests a second. Two
loads: 400 requests a second, and bursts of 60 requests within 30 ms once a second. Each request comes on a connection
of its own, and its client gives up after a second. A figure is the share of what can be served that was served in time,
with a status of 200: of 200 requests a second under the first load, of all requests under the second. The servers take
turns in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

POOL, WORK_SECONDS = 10, 0.05
CAPACITY = POOL / WORK_SECONDS  # requests a second
PATIENCE = 1.0  # seconds
BURST, BURST_SECONDS = 60, 0.03
WARM_UP = 2.0  # seconds of load that are not counted
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

FASTSERVE = ["fastserve", "bench.overload:app", "--port={port}", "--no-access-log"]
COMMANDS = {
    "fastserve-no-limit": FASTSERVE,
    "fastserve-503": [*FASTSERVE, f"--limit-requests={POOL}", "--queue=0"],
    "fastserve-queue": [*FASTSERVE, f"--limit-requests={POOL}"],
    "uvicorn": ["uvicorn", "bench.overload:app", "--port={port}", "--no-access-log"],
    # It refuses from that number of connections on, the new one included.
    "uvicorn-limit": [
        *("uvicorn", "bench.overload:app", "--port={port}", "--no-access-log", f"--limit-concurrency={POOL + 1}"),
    ],
    "granian-backpressure": [
        *("granian", "bench.overload:app", "--port={port}", "--interface=asgi", f"--backpressure={POOL}"),
    ],
}


@functools.cache
def pool() -> asyncio.Semaphore:
    """Return the server's, made in its event loop."""
    return asyncio.Semaphore(POOL)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Work on a request for as long as it needs one of the pool, and serve the lifespan."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    async with pool():
        await asyncio.sleep(WORK_SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def ask(port: int) -> int:
    """Return the status of one request, 0 where there was none in time."""
    try:
        return await asyncio.wait_for(status_of(port), PATIENCE)
    except (OSError, asyncio.TimeoutError):
        return 0


async def status_of(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(REQUEST)
        line = await reader.readline()
        return int(line.split()[1]) if line else 0
    finally:
        writer.transport.abort()


async def steady(port: int, seconds: float) -> tuple[int, float]:
    """Ask for twice the capacity. Return the number served in time, and what could have been."""
    begin, gap = time.monotonic(), 1 / (2 * CAPACITY)
    asked: list[asyncio.Task[int]] = []
    counted = 0
    while (now := time.monotonic() - begin) < WARM_UP + seconds:
        while len(asked) * gap <= now:
            asked.append(asyncio.create_task(ask(port)))
            counted += len(asked) * gap > WARM_UP
        await asyncio.sleep(gap)
    statuses = await asyncio.gather(*asked)
    return statuses[len(asked) - counted :].count(200), CAPACITY * seconds


async def bursts(port: int, seconds: float) -> tuple[int, float]:
    asked: list[asyncio.Task[int]] = []
    for _ in range(int(seconds)):
        began = time.monotonic()
        for number in range(BURST):
            asked.append(asyncio.create_task(ask(port)))
            await asyncio.sleep(max(began + (number + 1) * BURST_SECONDS / BURST - time.monotonic(), 0))
        await asyncio.sleep(max(began + 1 - time.monotonic(), 0))
    statuses = await asyncio.gather(*asked)
    return statuses.count(200), len(asked)


def measure(name: str, seconds: float) -> dict[str, float]:
    """Return the shares of one server, each load with a server of its own."""
    shares = {}
    for load in (steady, bursts):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = int(sock.getsockname()[1])
        program, *options = [each.format(port=port) for each in COMMANDS[name]]
        null = subprocess.DEVNULL
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / program), *options],
            stdin=null, stdout=null, stderr=null, start_new_session=True,
        )  # fmt: skip
        try:
            end = time.monotonic() + 20
            while asyncio.run(ask(port)) != 200:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{name} does not serve")
                time.sleep(0.05)
            served, possible = asyncio.run(load(port, seconds))
            shares[load.__name__] = round(served / possible, 3)
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(5)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.overload")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load (default: 10)")
    parser.add_argument("--servers", metavar="A,B", default=",".join(COMMANDS), help="default: all")
    parser.add_argument("--out", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    names = arguments.servers.split(",")
    unknown = [name for name in names if name not in COMMANDS]
    if unknown:
        parser.error(f"unknown servers: {', '.join(unknown)}; there are {', '.join(COMMANDS)}")
    served = {}
    print(f"{'':22}{'2 x capacity':>14}{'bursts':>10}")
    for name in names:
        served[name] = measure(name, arguments.seconds)
        print(f"{name:22}{served[name]['steady']:14.0%}{served[name]['bursts']:10.0%}", flush=True)
    if arguments.out is not None:
        versions = {name: version(name) for name in sorted({COMMANDS[each][0] for each in names})}
        arguments.out.write_text(json.dumps({"versions": versions, "served": served}, indent=1) + "\n")


if __name__ == "__main__":
    main()
