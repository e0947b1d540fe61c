"""A real Redis."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from pathlib import Path

from support import PATIENCE

if shutil.which("redis-server") is None:
    raise RuntimeError("these tests need redis-server (Debian: apt-get install redis-server)")


class Server:
    """A Redis of a test's own, on a UNIX socket."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"redis+unix://{self.path}"

    def start(self) -> None:
        options = {"port": "0", "unixsocket": str(self.path), "save": "", "dir": str(self.path.parent)}
        argv = ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        while True:
            try:
                if self.cli("PING") == "PONG":
                    return
            except OSError:
                assert self.process.poll() is None

    def cli(self, *words: str) -> str:
        """Send a command, and return a reply of one line, or the last line of another."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(self.path))
            sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w.encode()) for w in words))
            return sock.recv(65536).decode().strip().lstrip("+:").splitlines()[-1]

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None
            self.path.unlink(missing_ok=True)
