"""A `fastserve` process on a free port for as long as the suite asks it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_RUNNING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")


class CannotStart(Exception):
    """The server did not come up; the text has its last line."""


def url_of(port: int) -> str:
    return f"ws://127.0.0.1:{port}/echo"


@dataclass
class Server:
    """Where it listens, and what it has come to."""

    process: asyncio.subprocess.Process
    log: Path
    port: int = 0

    @property
    def url(self) -> str:
        return url_of(self.port)

    def complaint(self) -> str | None:
        """What is wrong with it: that it has ended, None while it runs."""
        code = self.process.returncode
        return None if code is None else f"the server ended with code {code}: {self.last_words()} ({self.log})"

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"


@contextlib.asynccontextmanager
async def running(implementation: str, folder: Path) -> AsyncIterator[Server]:
    """The demo, whose /echo sends back what it gets, served with `--ws IMPLEMENTATION`; stopped at the end."""
    log = _new(folder / "server.log")
    command = ["fastserve", "fastserve.demo:app", "--ws", implementation, "--port", "0", "--no-access-log"]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", *command, stdout=output, stderr=output)
        server = Server(process, log)
        try:
            await _wait_listening(server)
            yield server
        finally:
            await _stop(process)


def _new(log: Path) -> Path:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


async def _wait_listening(server: Server) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _START_SECONDS
    while not (match := _RUNNING.search(server.log.read_text(errors="replace"))):
        if server.process.returncode is not None or loop.time() > deadline:
            raise CannotStart(server.complaint() or f"the server does not listen: {server.last_words()}")
        await asyncio.sleep(0.02)
    server.port = int(match[1])


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        process.kill()
        await process.wait()
