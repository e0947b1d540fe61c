"""wrk as the load: a script for a row's request, one run of it, and its figures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from bench.load import generator
from bench.load.generator import Load
from bench.load.process import Failed
from bench.load.rows import Row

MISSING = "wrk is not installed: `apt install wrk`, `dnf install wrk` or `brew install wrk`, or build it from https://github.com/wg/wrk."

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
        mark=generator.MARK,
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
    load = generator.run(command, seconds, core)
    # wrk times a packet of requests as one, but corrects its percentiles as if each had been timed: they mean nothing.
    return load if row.pipeline == 1 else replace(load, p50=None, p99=None, p999=None)
