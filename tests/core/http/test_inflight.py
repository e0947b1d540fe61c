"""What a signal handler writes of the requests under way; in a process of its own, where it may be enabled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE

PROGRAM = """
import asyncio, os, re, signal, time
from fakes.worker import FakeWorker, get, hello
from fastserve._core.http import inflight

async def app(scope, receive, send):
    if scope["path"].startswith("/wait"):
        await asyncio.Event().wait()
    await hello()(scope, receive, send)

def written():
    os.kill(os.getpid(), signal.SIGUSR1)
    return os.read(reader, 65536)

reader, writer = os.pipe()
inflight.write_on_signal(signal.SIGUSR1, writer)
wire = FakeWorker(app)
assert written() == b"It was working on no request.\\n\\0"
began = time.monotonic()
for path in ("/wait/1", "/done", "/wait/2%20?a=b"):
    wire.connect().feed(get(path))
lines = written().split(b"\\n")
assert lines[0] == b"It was working on:", lines
assert [line.rpartition(b" for ")[0] for line in lines[1:-1]] == [b"  GET /wait/1", b"  GET /wait/2%20"], lines
shown = re.fullmatch(rb".* for ([0-9]+\\.[0-9]) s", lines[1])
assert shown and float(shown[1]) <= time.monotonic() - began + 0.1 and lines[-1] == b"\\0", lines
for _ in range(200):
    wire.connect().feed(get("/wait"))
text = written()
assert text.count(b"GET") == 100 and text.endswith(b"  and more\\n\\0"), text
for task in list(wire.worker.tasks):
    wire.call(task.cancel)
assert written() == b"It was working on no request.\\n\\0"
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_requests_are_written() -> None:
    tests = str(Path(__file__).parents[2])
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": tests},
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE,
    )
    assert run.stdout.endswith("done\n"), run.stderr


def test_signal_that_cannot_be_handled() -> None:
    from fastserve._core.http.inflight import write_on_signal

    with pytest.raises(OSError, match="cannot handle signal 9"):
        write_on_signal(9, 2)
