"""The blocks of code of the documentation, run in the order of their page, each page in a folder of its own.

A block with a title is that file. `sh` and `python` without one are run. What a comment before a block does to it:
`<!-- no-run: why -->`: it is not run;
`<!-- serve -->`: it is started, and once it listens the next follows, with port 8000 replaced by the free one;
`<!-- stop -->`: those servers are stopped first;
`<!-- output -->`: it is what the block before it prints;
`<!-- cell -->`: it is a cell of a notebook, and those of a page are run at its end, in one loop.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from docs.pages import PAGES, ROOT, Block, blocks
from support import PATIENCE, Command

pytestmark = pytest.mark.slow

LISTENS = r"(?:running on|Listening at:) (?:http[s]?|unix)(?:://[\w.]+:(\d+)| socket|:)"
HOSTS = r"(127\.0\.0\.1|0\.0\.0\.0|localhost)"
RUN = [page for page in PAGES if any(block.language in ("sh", "python") for block in blocks(page))]


NOTEBOOK = """
import ast, asyncio, sys

async def run(cells):
    names = {}
    for cell in cells:
        code = compile(cell, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waiting = eval(code, names)
        if asyncio.iscoroutine(waiting):
            await waiting
        await asyncio.sleep(0)

asyncio.run(run(sys.argv[1:]))
"""


class Page:
    """A page that is being read by somebody who does what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: list[Command] = []
        self.ports: dict[str, str] = {}  # those of the page, and those in their place
        self.output = ""
        self.cells: list[str] = []
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "default",
        }

    def take(self, block: Block) -> None:
        if "stop" in block.marks:
            self.stop()
        if "no-run" in block.marks:
            return
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(re.sub(r"\bport=8000\b", "port=0", block.text), encoding="utf-8")
        elif "serve" in block.marks:
            self.serve(block)
        elif "cell" in block.marks:
            self.cells.append(re.sub(r"\bport=8000\b", "port=0", block.text))
        elif "output" in block.marks:
            assert self.output.strip() == block.text.strip(), block.where
        elif block.language in ("sh", "python"):
            self.run(block)

    def run(self, block: Block) -> None:
        text = re.sub(HOSTS + r":(\d+)", self.translated, block.text)
        start = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
        self.output = self.command([*start, text], block.where)

    def run_cells(self) -> None:
        if self.cells:
            self.output = self.command([sys.executable, "-c", NOTEBOOK, *self.cells], "the notebook's cells")

    def command(self, arguments: list[str], what: str) -> str:
        """Run a command in the page's folder and return what it prints."""
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        log = "".join(f"\nserver:\n{server.output}" for server in self.servers)
        assert done.returncode == 0, f"{what}\n{done.stdout}\n{done.stderr}{log}"
        return done.stdout

    def translated(self, match: re.Match[str]) -> str:
        host, port = match.groups()
        return f"127.0.0.1:{self.ports[port]}" if port in self.ports else f"{host}:{port}"

    def serve(self, block: Block) -> None:
        metrics = re.search(r"--metrics-bind \S+:(\d+)", block.text)
        port = re.search(HOSTS + r":(\d+)|--port (\d+)", block.text.replace(metrics[0], "") if metrics else block.text)
        text = re.sub(HOSTS + r":\d+", "127.0.0.1:0", block.text)
        text = re.sub(r"--port \d+", "--port 0", text)
        environment = dict(self.environment)
        if "--bind" not in text and "gunicorn" not in text:
            environment["FASTSERVE_PORT"] = "0"
        server = Command(["bash", "-euc", f"exec {text}"], env=environment, cwd=str(self.folder))
        self.servers.append(server)
        found = server.wait_line(LISTENS)
        if found[1] is not None:
            self.ports[(port and (port[2] or port[3])) or "8000"] = found[1]
        if metrics:
            self.ports[metrics[1]] = server.wait_line(r"Metrics on http://\S+:(\d+)/")[1]

    def stop(self) -> None:
        """Stop the servers, by SIGTERM as a service manager does, and see that each ends as one that was told to."""
        for server in reversed(self.servers):
            if server.process.poll() is None:
                server.process.terminate()
            server.process.wait(PATIENCE)
            assert server.process.returncode in (0, -signal.SIGTERM), server.output
            assert "Traceback" not in server.output, server.output
        self.servers.clear()

    def close(self) -> None:
        for server in self.servers:
            server.close()


@pytest.mark.parametrize("path", RUN, ids=[str(page.relative_to(ROOT)) for page in RUN])
def test_page_can_be_followed(path: Path, tmp_path: Path) -> None:
    page = Page(tmp_path)
    try:
        for block in blocks(path):
            page.take(block)
        page.run_cells()
        page.stop()
    finally:
        page.close()
