"""`fastserve top` beside a real server: without a screen, and in a real terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from operations.asking import Controlled, until

if sys.platform == "win32":
    pytest.skip("UNIX sockets", allow_module_level=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controlled]:
    path = tmp_path_factory.mktemp("top") / "control"
    made = support.command(
        "metrics_app:app", "--app-dir", support.APPS, "--port", "0", "--workers", "2", "--no-access-log",
        "--control-socket", str(path), "--metrics-bind", "127.0.0.1:0",
    )  # fmt: skip
    try:
        made.wait_line("Application startup complete", count=2)
        found = Controlled(made, path)
        until(lambda: len(found.pids()) == 2)
        yield found
    finally:
        made.close()


def top(*words: str, **more: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "fastserve", "top", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **more})
    return done.returncode, done.stdout, done.stderr


def metrics(server: Controlled) -> str:
    return server.command.wait_line(r"Metrics on (http://\S+)/metrics$")[1]


def test_once_and_json(server: Controlled) -> None:
    """Over the control socket requests are seen, over the address of the metrics they are not."""
    with server.command.connect() as client:
        client.sendall(b"GET /wait?hidden HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.recv(1)
        code, out, err = top("--once", "--interval", "0.1", str(server.path))
        assert (code, err) == (0, "")
        assert "2 of 2 workers ready" in out and "in flight 1" in out
        assert "GET /wait" in out and "hidden" not in out
        code, out, err = top("--once", "--json", "--interval", "0.1", metrics(server) + "/")
        assert (code, err) == (0, "")
        found = json.loads(out)
        assert found["requests"] is None and found["active"] == 1
        assert [each["worker"] for each in found["workers"]] == [0, 1]


def test_nothing_there(tmp_path: Path) -> None:
    code, out, err = top("--once", str(tmp_path / "no"))
    assert (code, out, err) == (3, "", f"Error: no response from {tmp_path / 'no'}: No such file or directory\n")


def test_without_rich(server: Controlled, tmp_path: Path) -> None:
    """The screen needs it, --once and --json do not."""
    (tmp_path / "rich.py").write_text("raise ImportError('no rich')", "utf-8")
    more = {"PYTHONPATH": str(tmp_path)}
    assert top("--once", "--interval", "0.1", str(server.path), **more)[0] == 0
    code, _, err = top(str(server.path), **more)
    assert (code, err) == (3, "Error: the screen needs rich: pip install 'fastserve[top]', or use --once\n")


class Terminal:
    """A real terminal, of tmux."""

    def __init__(self, folder: Path, width: int, height: int, *command: str) -> None:
        if shutil.which("tmux") is None:
            raise RuntimeError("this test needs tmux (Debian: apt-get install tmux)")
        self.tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self.folder = folder
        ended = folder / "ended"
        words = " ".join(f"'{word}'" for word in command)
        size = ["-x", str(width), "-y", str(height)]
        self.run("new-session", "-d", *size, f"{words}; echo $? > '{ended}'; cat")
        self.ended = ended

    def run(self, *words: str) -> str:
        return subprocess.run([*self.tmux, *words], capture_output=True, text=True, check=True).stdout

    def screen(self) -> str:
        return self.run("capture-pane", "-p")

    def until(self, text: str) -> str:
        return str(until(lambda: text in (screen := self.screen()) and screen))

    def close(self) -> None:
        self.run("kill-server")


@pytest.mark.programs
@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_in_a_terminal(server: Controlled, tmp_path: Path, width: int, height: int) -> None:
    """The screen fits, the keys do what they say, and at the end the terminal is as it was."""
    command = [sys.executable, "-m", "fastserve", "top", "--interval", "0.1", str(server.path)]
    terminal = Terminal(tmp_path, width, height, *command)
    try:
        terminal.until("q quit")
        if width == 200:
            terminal.until("REQ/S OF THE LAST MINUTE")  # tmux makes a terminal of 80 columns larger
        screen = terminal.screen()
        lines = screen.splitlines()
        assert lines[0].startswith("fastserve ") and "2 of 2 workers ready" in lines[0]
        assert lines[4].lstrip().startswith("W     PID STATE")
        assert until(lambda: "q quit" in terminal.screen().splitlines()[height - 1])
        terminal.run("send-keys", "s")
        terminal.until("(sorted by rate)")
        terminal.run("send-keys", "w")  # of the first on the screen: whose rate is higher is open
        terminal.until("under way of worker ")
        terminal.run("send-keys", "Space")
        terminal.until("PAUSED")
        terminal.run("send-keys", "Space")
        until(lambda: "PAUSED" not in terminal.screen())
        before = server.get("/status")["requests"]
        server.command.get("/")
        until(lambda: server.get("/status")["requests"] > before)
        terminal.run("send-keys", "q")
        until(terminal.ended.exists)
        assert until(lambda: terminal.ended.read_text("utf-8")) == "0\n"
        until(lambda: "q quit" not in terminal.screen())
    finally:
        terminal.close()


@pytest.mark.programs
def test_server_that_goes(command: support.StartCommand, tmp_path: Path) -> None:
    """The last figures stay, with what is wrong; a server that comes back is shown again."""
    path = tmp_path / "control"
    arguments = ("metrics_app:app", "--app-dir", support.APPS, "--port", "0", "--control-socket", str(path))
    made = command(*arguments)
    made.wait_line("Control socket at ")
    terminal = Terminal(
        tmp_path, 80, 24, sys.executable, "-m", "fastserve", "top", "--interval", "0.1", str(path)
    )  # fmt: skip
    try:
        terminal.until("q quit")
        made.stop()
        screen = terminal.until("no response from")
        assert re.search("[01] of 1 workers ready", screen)  # it may have said that it stops
        command(*arguments).wait_line("Control socket at ")
        terminal.until("q quit")
    finally:
        terminal.close()
