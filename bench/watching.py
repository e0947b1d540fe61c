"""What watching costs: `python -m bench.watching`, the processor time of `fastserve top` in a terminal.

A server under load is watched over its control socket, drawn once a second at 200 x 50. The share of a core is that of
`fastserve top` after its start, and of the server's parent, which responds to it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

_START = 3.0  # seconds until what is imported is


def cpu(pid: int) -> float:
    """Return the seconds of processor time that a process has taken, finer than ticks."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def ask(port: int, over: threading.Event) -> None:
    """Send requests, one at a time, until it is over."""
    from http.client import HTTPConnection

    client = HTTPConnection("127.0.0.1", port)
    while not over.is_set():
        client.request("GET", "/")
        client.getresponse().read()
    client.close()


def drain(terminal: int, shown: list[int]) -> None:
    """Take what is drawn, and note how many bytes it is."""
    try:
        while data := os.read(terminal, 65536):
            shown[0] += len(data)
    except OSError:
        pass  # the other end is closed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.watching", description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastserve-bench-") as folder:
        control = f"{folder}/control"
        command = [sys.executable, "-m", "fastserve"]
        serve = ["bench.load.apps:hello", "--port=0", "--no-access-log", f"--workers={options.workers}"]
        server = subprocess.Popen([*command, *serve, f"--control-socket={control}"], stderr=subprocess.PIPE, text=True)
        try:
            watch(server, [*command, "top", control], options.workers, options.seconds)
        finally:
            server.terminate()
            server.wait()


def watch(server: subprocess.Popen[str], command: list[str], workers: int, seconds: int) -> None:
    assert server.stderr is not None
    port = ready = 0
    while ready < workers:
        line = server.stderr.readline()
        assert line, "the server has ended"
        port = int(found[1]) if (found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line)) else port
        ready += "startup complete" in line
    over = threading.Event()
    client = threading.Thread(target=ask, args=(port, over))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    drawn = [0]
    threading.Thread(target=drain, args=(ours, drawn), daemon=True).start()
    client.start()
    top = subprocess.Popen(command, stdin=theirs, stdout=theirs, env={**os.environ, "TERM": "xterm-256color"})
    try:
        time.sleep(_START)
        began, bytes_before = time.monotonic(), drawn[0]
        shown, parent = cpu(top.pid), cpu(server.pid)
        time.sleep(seconds)
        span = time.monotonic() - began
        assert top.poll() is None, "fastserve top has ended"
        print(f"fastserve top: {(cpu(top.pid) - shown) / span:.2%} of a core, {drawn[0] - bytes_before:,} bytes drawn")
        print(f"the parent of {workers} workers: {(cpu(server.pid) - parent) / span:.2%} of a core")
    finally:
        over.set()
        client.join()
        top.terminate()
        top.wait()
        os.close(theirs)


if __name__ == "__main__":
    main()
