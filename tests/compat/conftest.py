from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Command
from support import command as start_command

TESTS = Path(__file__).parents[1]
TIMEOUT = 60.0

Start = Callable[..., Command]
Curl = Callable[..., str]


def texts_at_once(urls: Iterable[str], **transport: Any) -> list[str]:
    """Ask for all of these at the same time, in one thread: httpx's connections of HTTP/2 are not safe with several."""

    async def ask() -> list[str]:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(**transport), timeout=TIMEOUT) as client:
            return [response.text for response in await asyncio.gather(*map(client.get, urls))]

    return asyncio.run(ask())


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the applications serve files from."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "large.bin").write_bytes(bytes(range(256)) * 12000)
    (folder / "small.txt").write_text("a small file\n")
    (folder / "empty.txt").touch()
    return folder


@pytest.fixture(scope="module")
def start(files: Path) -> Iterator[Start]:
    """Start the command with an application of apps/: start("module:name", *options) -> Command, stopped at the end."""
    running: list[Command] = []

    def start_app(app: str, *options: str) -> Command:
        arguments = (f"compat.apps.{app}", "--app-dir", str(TESTS), "--port", "0", *options)
        process = start_command(*arguments, env={"COMPAT_FILES": str(files)})
        running.append(process)
        process.wait_line(r"running on http://")
        return process

    yield start_app
    for process in running:
        process.close()


@pytest.fixture(params=["http1", "http2"])
def client(request: pytest.FixtureRequest, server: Command) -> Iterator[httpx.Client]:
    """A client of the module's own `server` fixture, by one version of HTTP, with a pool of kept-alive connections."""
    http2 = request.param == "http2"
    with httpx.Client(base_url=server.url, timeout=TIMEOUT, trust_env=False, http1=not http2, http2=http2) as client:
        yield client


@pytest.fixture
def curl() -> Curl:
    """Run curl with these arguments and give back its standard output as text; fails when curl does."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")

    def run(*arguments: str, code: int = 0) -> str:
        argv = [program, "--silent", "--show-error", "--max-time", str(TIMEOUT), "--noproxy", "*", *arguments]
        result = subprocess.run(argv, capture_output=True, timeout=2 * TIMEOUT, check=False)
        assert result.returncode == code, result.stderr.decode()
        return result.stdout.decode()

    return run


class LogMark:
    """The lines that a server has written since the mark was set."""

    def __init__(self, server: Command) -> None:
        self._server = server
        self._from = len(server.lines)

    def new(self) -> str:
        return "\n".join(self._server.lines[self._from :])

    def wait(self, pattern: str) -> None:
        """Wait until a line has this that was not there at the mark."""
        before = sum(1 for line in self._server.lines[: self._from] if re.search(pattern, line))
        self._server.wait_line(pattern, count=before + 1)

    def count(self, pattern: str) -> int:
        return len(re.findall(pattern, self.new()))


@pytest.fixture
def log(server: Command) -> LogMark:
    """What the module's own `server` writes from the beginning of the test on."""
    return LogMark(server)
