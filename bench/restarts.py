"""How many requests are lost while a server replaces its workers: by SIGHUP, and after a number of requests.

    python -m bench.restarts [--seconds 6] [--out bench/results/restarts.json]

Each server has two workers. Four clients ask without a pause, each request on a connection of its own, or all of a
client's on one that is kept alive and opened again once the server says that it closes it. A request is lost if its
connection is refused, reset, or closed without a response, or if its status is not 200. A cell is lost of sent; "ends"
if the server ends, "-" if it has no such option.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

CLIENTS = 4
REQUESTS = 200  # of a worker, then it is replaced
HUP_AFTER = 1.0  # seconds of asking

COMMANDS = {
    "fastserve": ["fastserve", "--workers=2", "--port={port}", "--no-access-log"],
    "uvicorn": ["uvicorn", "--workers=2", "--port={port}", "--no-access-log"],
    "gunicorn": ["gunicorn", "--workers=2", "--bind=127.0.0.1:{port}", "--worker-class=asgi", "--no-control-socket"],
    "granian": ["granian", "--workers=2", "--port={port}", "--interface=asgi"],
    "hypercorn": ["hypercorn", "--workers=2", "--bind=127.0.0.1:{port}"],
}
LIMITS = {
    "fastserve": f"--limit-max-requests={REQUESTS}",
    "uvicorn": f"--limit-max-requests={REQUESTS}",
    "gunicorn": f"--max-requests={REQUESTS}",
    "hypercorn": f"--max-requests={REQUESTS}",
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request after its event loop has had a turn, and the lifespan."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


Connection = http.client.HTTPConnection


def ask(port: int, kept: Connection | None, keeps: bool) -> tuple[bool, Connection | None]:
    """Send one request; return whether it succeeded, and the connection if it is kept."""
    connection = kept or Connection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/", headers={} if keeps else {"Connection": "close"})
        response = connection.getresponse()
        good = response.status == 200 and response.read() == b"ok"
    except (OSError, http.client.HTTPException):
        connection.close()
        return False, None
    if not keeps or connection.sock is None:  # http.client closes a connection whose response says so
        connection.close()
        return good, None
    return good, connection


class Load:
    """Clients that ask until they are told to stop."""

    def __init__(self, port: int, keeps: bool) -> None:
        self.sent = self.lost = 0
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(port, keeps)) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, port: int, keeps: bool) -> None:
        kept: Connection | None = None
        while not self.stop.is_set():
            good, kept = ask(port, kept, keeps)
            with self.lock:
                self.sent += 1
                self.lost += not good
            if not good:
                time.sleep(0.01)
        if kept is not None:
            kept.close()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def started(arguments: list[str], port: int) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    process = subprocess.Popen(arguments, stdin=null, stdout=null, stderr=null, start_new_session=True)
    end = time.monotonic() + 20
    while not ask(port, None, False)[0]:
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{arguments[0]} does not serve")
        time.sleep(0.05)
    return process


def measure(server: str, keeps: bool, by_signal: bool, seconds: float) -> str:
    """Return the cell of a server."""
    if not by_signal and server not in LIMITS:
        return "-"
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = int(sock.getsockname()[1])
    program, *options = [each.format(port=port) for each in COMMANDS[server]]
    options += [] if by_signal else [LIMITS[server]]
    command = [str(Path(sys.executable).parent / program), "bench.restarts:app", *options]
    process = started(command, port)
    try:
        load = Load(port, keeps)
        time.sleep(HUP_AFTER)
        if by_signal:
            process.send_signal(signal.SIGHUP)
        time.sleep(seconds - HUP_AFTER)
        ended = process.poll() is not None
        load.end()
        return "ends" if ended else f"{load.lost} of {load.sent}"
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.restarts")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cells: dict[str, dict[str, str]] = {}
    for title, keeps, by_signal in (
        ("SIGHUP, a connection a request", False, True),
        ("SIGHUP, kept-alive connections", True, True),
        (f"workers end after {REQUESTS} requests, a connection a request", False, False),
        (f"workers end after {REQUESTS} requests, kept-alive connections", True, False),
    ):
        cells[title] = {server: measure(server, keeps, by_signal, arguments.seconds) for server in COMMANDS}
        print(title, cells[title], flush=True)
    if arguments.out is not None:
        versions = {server: version(server) for server in COMMANDS}
        arguments.out.write_text(json.dumps({"versions": versions, "lost": cells}, indent=1) + "\n")


if __name__ == "__main__":
    main()
