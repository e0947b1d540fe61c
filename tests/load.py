"""A server process under load, looked at from outside and through /state of load_app."""

from __future__ import annotations

import contextlib
import ctypes
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from protocol.wire import Wire

TESTS = Path(__file__).parent
RESETS = struct.pack("ii", 1, 0)  # for SO_LINGER: close() resets the connection
PATIENCE = 60.0  # seconds for anything, on a machine that is busy with something else
STATE = b"GET /state HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n"


def until(true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Return once `true()` is; AssertionError with `what` after this many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class LoadedServer:
    """`python -m fastserve load_app:app`; a context. Its log goes to a file, its access log nowhere.

    It can have this many descriptors, or as many as are allowed.
    """

    def __init__(self, log: Path, *arguments: str, descriptors: int = 0) -> None:
        self.log = log
        command = [sys.executable, "-m", "fastserve", "load_app:app", "--app-dir", str(TESTS), "--port", "0"]
        command += ["--disconnect", "raise"]  # its streams end by that
        command += ["--lifespan", "off", *arguments]
        limit = descriptors or "$(ulimit -H -n)"
        command = ["sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh", *command]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file)
        self.port = 0

    def __enter__(self) -> LoadedServer:
        until(lambda: "running on" in self.text or self.process.poll() is not None, "the server starts")
        assert self.process.poll() is None, self.text
        line = next(line for line in self.text.splitlines() if "running on" in line)
        self.port = int(line.split("running on ")[1].split()[0].rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    @property
    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def connect(self, timeout: float = PATIENCE, receive_buffer: int = 0) -> socket.socket:
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.connect(self.address)
        return sock

    def ask(self, data: bytes, timeout: float = PATIENCE) -> bytes:
        """Return the body of the response to one request on a new connection."""
        with Wire(self.connect(timeout)) as wire:
            response = wire.ask(data)
            assert response.status == 200, response
            return response.body

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask(STATE))
        return found

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the process, which has nothing to do with a stop of the server, and let it go on."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            stat = Path(f"/proc/{self.process.pid}/stat")
            until(lambda: stat.read_text("utf-8").rpartition(") ")[2].startswith("T"), "the process is stopped")
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def processor_time(self) -> float:
        """Return the seconds of all its threads, as time.process_time() does in the process."""
        clock = ctypes.c_int()
        assert not ctypes.CDLL(None).clock_getcpuclockid(self.process.pid, ctypes.byref(clock))
        return time.clock_gettime(clock.value)

    def quiet_state(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """The state once nothing is left of any connection but the one that asks."""
        found: dict[str, Any] = {}

        def quiet() -> bool:
            nonlocal found
            found = self.state()
            live = found["live"]
            return bool(live["connection"] == 1 and live["exchange"] == 1 and live["task"] <= 1 and live["buffer"] <= 1)

        try:
            until(quiet, "only the connection that asks is left", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {found}") from None
        return found


def reset(sock: socket.socket) -> None:
    """Close with a reset in place of an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
    sock.close()
