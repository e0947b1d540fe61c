"""python -m bench.fanout.others: how long other requests take while messages go to many WebSockets.

One connection asks again as soon as it has its response and a pause; first with the WebSockets idle, then during
fan-outs that follow one another. The receiver of the messages shares the processor of the one that asks.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REQUEST = b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n"
PAUSE = 0.002
ROUNDS = 1_000_000  # it is ended before


def ask(port: int, going: Callable[[], bool]) -> list[float]:
    """Return the milliseconds of each request, in order of size."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while going():
            began = time.perf_counter()
            sock.sendall(REQUEST)
            assert sock.recv(65536).endswith(b"ok")
            times.append((time.perf_counter() - began) * 1e3)
            time.sleep(PAUSE)
    return sorted(times)


def shown(times: list[float]) -> str:
    return f"p50 {times[len(times) // 2]:.1f} ms, p99 {times[int(len(times) * 0.99)]:.1f} ms of {len(times)}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fanout.others", description=__doc__)
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--row", default="fastserve-topics", help="fastserve-topics, fastserve-loop or uvicorn-loop")
    given = parser.parse_args()
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        receiver = Path(folder, "receiver")
        subprocess.run(["gcc", "-O2", "-o", receiver, Path(__file__).with_name("receiver.c")], check=True)
        os.sched_setaffinity(0, {last})
        argv = [sys.executable, "-m", "bench.fanout.server", given.row, str(given.clients), "132", "1", "0"]
        with contextlib.ExitStack() as ended:
            server = ended.enter_context(
                subprocess.Popen(["taskset", "-c", str(first), *argv], stdout=subprocess.PIPE, text=True)
            )
            ended.callback(server.kill)
            assert server.stdout is not None
            port, control = server.stdout.readline().split()
            words = [str(receiver), port, control, str(given.clients), "/", "", str(ROUNDS), "", "0"]
            reading = ended.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
            ended.callback(reading.kill)
            assert reading.stdout is not None
            assert reading.stdout.readline() == "connected\n"
            reading.send_signal(signal.SIGSTOP)
            until = time.monotonic() + 3
            print("without fan-outs:", shown(ask(int(port), lambda: time.monotonic() < until)))
            reading.send_signal(signal.SIGCONT)
            until = time.monotonic() + 5
            print("during fan-outs: ", shown(ask(int(port), lambda: time.monotonic() < until)))


if __name__ == "__main__":
    main()
