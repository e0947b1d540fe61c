"""h2load as the load of HTTP/2 rows: its command line for a row, and the figures out of what it prints.

It is told how long to warm up, then how many requests to make: all of them are complete, and counted. It knows no
percentiles of latencies.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from bench.load import generator
from bench.load.generator import Errors, Load
from bench.load.process import Failed
from bench.load.rows import Row

MISSING = "h2load is not installed: it is in nghttp2-client (Debian), nghttp2 (Fedora, Homebrew)."
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIME = re.compile(r"^finished in ((?:[\d.]+(?:us|ms|s|m|h))+),", re.MULTILINE)
_PART = re.compile(r"([\d.]+)(us|ms|s|m|h)")
_REQUESTS = re.compile(r"^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$", re.MULTILINE)
_STATUS = re.compile(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", re.MULTILINE)


def find() -> str | None:
    """The path of h2load, None when it is not installed."""
    return shutil.which("h2load")


class Generator:
    """The load of a row on a port, from a core of its own; its first run finds out how many requests the next makes."""

    def __init__(self, row: Row, port: int, core: int | None, folder: Path) -> None:
        self.row = row
        self.port = port
        self.core = core
        self.body = folder / f"{row.name}.body"
        self.rate: float | None = None  # requests a second
        if row.request.body:
            self.body.write_bytes(b"x" * row.request.body)

    def run(self, seconds: float) -> Load:
        """Puts the row's load on the port for about that long. Failed when h2load fails or hangs."""
        output, code = generator.printed(self.command(seconds), seconds, self.core)
        load = parse(output, code)
        self.rate = load.requests / load.seconds
        return load

    def command(self, seconds: float) -> list[str]:
        row, program = self.row, find()
        if program is None:
            raise Failed(MISSING)
        at_once = row.connections * row.streams
        command = [program, "--threads=1", f"--clients={row.connections}", f"--max-concurrent-streams={row.streams}"]
        if self.rate is not None:
            # As many on each connection, so that all end together.
            command.append(f"--requests={max(1, round(self.rate * seconds / at_once)) * at_once}")
        else:
            command.append(f"--duration={max(1, round(seconds))}")
        command += [f"--header={name}: {value}" for name, value in row.request.headers if name != "Connection"]
        if row.request.body:
            command.append(f"--data={self.body}")
        command.append("--h1" if row.over_http1 else "--npn-list=h2")
        return [*command, f"{'https' if row.tls else 'http'}://127.0.0.1:{self.port}{row.request.path}"]


def parse(output: str, code: int) -> Load:
    """Return the figures of one run. Failed when it has none."""
    time, requests, status = _TIME.search(output), _REQUESTS.search(output), _STATUS.search(output)
    if code or time is None or requests is None or status is None:
        raise Failed(f"h2load exited with code {code}: {output.strip().splitlines()[-1:] or 'no output'}")
    succeeded, failed, errored, timeout = map(int, requests.groups())
    wrong = sum(map(int, status.groups()[1:]))
    return Load(
        requests=succeeded,
        seconds=sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(time[1])),
        p50=None,
        p99=None,
        p999=None,
        errors=Errors(read=errored, timeout=timeout, status=max(wrong, failed - errored - timeout)),
    )
