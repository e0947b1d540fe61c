"""WebSocket echo as the load: a small C program (wsload.c), compiled for the run, and its figures."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.load import frames, generator
from bench.load.generator import Load
from bench.load.process import Failed
from bench.load.rows import Echo, Row

MISSING = "a C compiler is needed for the WebSocket rows; CC names it, or it is `cc`."
_SOURCE = Path(__file__).with_name("wsload.c")
_SECONDS = 10.0


def compiler() -> str | None:
    """The path of the C compiler, None when there is none."""
    return shutil.which(os.environ.get("CC", "cc"))


@dataclass(frozen=True)
class Generator:
    """The program with the bytes it is to send on the row's connections to a port, from a core of its own."""

    program: Path
    row: Row
    echo: Echo
    port: int
    core: int | None
    request: Path
    frames: Path

    def run(self, seconds: float) -> Load:
        """Puts the row's load on the port for that long. Failed when the program fails or hangs."""
        files = (self.request, self.frames)
        command = [self.program, str(self.port), str(self.row.connections), str(seconds), *files, str(self.echo.size)]
        return generator.run([str(part) for part in command], seconds, self.core)


def prepare(row: Row, echo: Echo, port: int, core: int | None, folder: Path) -> Generator:
    """Asks the server what it agrees to and writes the frames for that. Failed without a compiler, Wrong, OSError."""
    with connect(port) as connection:
        agreed = frames.Client(connection, echo).agreed
    files = (folder / f"{row.name}.request", folder / f"{row.name}.frames")
    files[0].write_bytes(frames.request(echo))
    files[1].write_bytes(b"".join(frames.client_frames(echo, agreed)))
    return Generator(_build(folder), row, echo, port, core, *files)


def connect(port: int) -> socket.socket:
    """A connected blocking socket with a time limit."""
    return socket.create_connection(("127.0.0.1", port), _SECONDS)


def _build(folder: Path) -> Path:
    program = folder / "wsload"
    if not program.exists():
        command = [compiler() or "cc", "-O2", "-o", str(program), str(_SOURCE)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise Failed(MISSING) from None
        except subprocess.CalledProcessError as error:
            raise Failed(f"{_SOURCE.name} does not compile: {error.stderr.strip().splitlines()[:1]}") from None
    return program
