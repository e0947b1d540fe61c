"""wrk as the load: a script for a row's request, one run of it, and its figures."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.load.process import Failed, spawn, stop
from bench.load.rows import Row

MISSING = "wrk is not installed: `apt install wrk`, `dnf install wrk` or `brew install wrk`, or build it from https://github.com/wg/wrk."
_MARK = "figures "

# The request is made once, before the load: without a global `request` function wrk sends the same bytes each time.
_SCRIPT = """
wrk.method = {method}
wrk.path = {path}
{headers}
{body}
local once = wrk.format
wrk.format = function(...) return string.rep(once(...), {pipeline}) end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{mark}{{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "p999": %d, '
    .. '"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.connect, e.read, e.write, e.timeout, e.status))
end
"""


@dataclass(frozen=True)
class Errors:
    """What went wrong, as wrk counts it; `status` is answers that are not 2xx or 3xx."""

    connect: int = 0
    read: int = 0
    write: int = 0
    timeout: int = 0
    status: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in asdict(self).items() if count)


@dataclass(frozen=True)
class Load:
    """The outcome of one run: requests answered, seconds, latencies in milliseconds, None where wrk has none."""

    requests: int
    seconds: float
    p50: float | None
    p99: float | None
    p999: float | None
    errors: Errors


def find() -> str | None:
    """The path of wrk, None when it is not installed."""
    return shutil.which("wrk")


def script(row: Row) -> str:
    """The Lua text that makes wrk send the row's request and print its figures on one line."""
    headers = "\n".join(f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in row.request.headers)
    return _SCRIPT.format(
        method=_lua(row.request.method),
        path=_lua(row.request.path),
        headers=headers,
        body=f'wrk.body = string.rep("x", {row.request.body})' if row.request.body else "",
        pipeline=row.pipeline,
        mark=_MARK,
    )


def _lua(text: str) -> str:
    """A quoted Lua string; JSON's escapes of printable ASCII are Lua's too."""
    return json.dumps(text)


def run(row: Row, port: int, seconds: float, core: int | None, folder: Path) -> Load:
    """Puts the row's load on the port for that long. Failed when wrk fails or hangs."""
    path = folder / f"{row.name}.lua"
    path.write_text(script(row))
    wrk = find()
    if wrk is None:
        raise Failed(MISSING)
    command = [
        wrk,
        "--threads",
        "1",
        "--connections",
        str(row.connections),
        "--duration",
        f"{max(1, round(seconds))}s",
        "--timeout",
        "10s",
        "--script",
        str(path),
        f"{'https' if row.tls else 'http'}://127.0.0.1:{port}{row.request.path}",
    ]
    process = spawn(command, core, subprocess.PIPE, {})
    try:
        output, _ = process.communicate(timeout=seconds + 30)
    except subprocess.TimeoutExpired:
        raise Failed(f"wrk did not stop {30} s after its time") from None
    finally:
        stop(process)
    return _parse(row, output.decode(errors="replace"), process.returncode)


def _parse(row: Row, output: str, code: int) -> Load:
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if code or line is None:
        raise Failed(f"wrk exited with code {code}: {output.strip().splitlines()[-1:] or 'no output'}")
    figures: dict[str, int] = json.loads(line[len(_MARK) :])
    # wrk times a packet of requests as one, but corrects its percentiles as if each had been timed: they mean nothing.
    p50, p99, p999 = (figures[name] / 1e3 if row.pipeline == 1 else None for name in ("p50", "p99", "p999"))
    return Load(
        requests=figures["requests"],
        seconds=figures["microseconds"] / 1e6,
        p50=p50,
        p99=p99,
        p999=p999,
        errors=Errors(*(figures[name] for name in ("connect", "read", "write", "timeout", "status"))),
    )
