"""The file of the access log: its permissions, its opening again, and what is missing."""

from __future__ import annotations

import os
import re
import signal
import stat
import threading
from pathlib import Path

import pytest
import support
from core.responses import Client
from fakes.worker import get


def numbers(*files: Path) -> list[int]:
    return sorted(int(number) for file in files for number in re.findall(r"GET /n(\d+) ", file.read_text()))


def test_access_log_file(start: support.StartCommand, tmp_path: Path) -> None:
    """Lines are appended to it; a new one has the permissions 640 whatever else the umask allows."""
    path = tmp_path / "access.log"
    path.write_text("before\n")
    server = start("app", "--access-log-file", str(path))
    server.get("/n1")
    server.stop()
    assert path.read_text().startswith("before\nINFO:     127.0.0.1:")
    assert path.read_text().count("\n") == 2 and "\x1b" not in path.read_text()
    assert not [line for line in server.stdout if "GET" in line]
    path.unlink()
    server = start("app", "--access-log-file", str(path), "--access-log-format", "json")
    server.get("/n1")
    server.stop()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 & ~current_umask()
    assert path.read_text().startswith('{"time":')


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_missing_directory(start: support.StartCommand, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "access.log"
    server = start("app", "--access-log-file", str(path))
    assert server.wait() == 3
    assert f"directory '{path.parent}' does not exist" in server.output
    assert "Traceback" not in server.output


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one", "workers"])
@pytest.mark.parametrize("form", ["default", "combined"])
def test_opened_again_under_load(
    start: support.StartCommand, tmp_path: Path, workers: tuple[str, ...], form: str
) -> None:
    """Each request has its line, in the file that was moved away or in the one after it."""
    path = tmp_path / "access.log"
    server = start("app", *workers, "--access-log-file", str(path), "--access-log-format", form)
    server.wait_line("Started server process", count=2 if workers else 1)
    assert server.port
    counts, enough = [0] * 4, threading.Event()

    def ask(place: int) -> None:
        client, last = Client(server.connect()), False
        while not last:
            last = enough.is_set() and counts[place] > 100  # a request more than those that were under way then
            client.ask(get(f"/n{place + 4 * counts[place]}"))
            counts[place] += 1
        client.close()

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    moved = [tmp_path / f"access.log.{number}" for number in range(3)]
    for opened, old in enumerate(moved, 1):
        path.rename(old)
        server.send_signal(signal.SIGUSR1)
        server.wait_line(r"Received SIGUSR1: 1 log file\(s\) opened again", count=opened)
        if workers:
            server.wait_line(r"^INFO: +1 log file\(s\) opened again", count=2 * opened)
    enough.set()
    for thread in threads:
        thread.join()
    server.stop()
    expected = sorted(place + 4 * number for place in range(4) for number in range(counts[place]))
    assert numbers(*moved, path) == expected
    assert numbers(path)


def test_a_file_that_cannot_be_opened_again_stays(start: support.StartCommand, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "access.log"
    server = start("app", "--access-log-file", str(path))
    server.get("/n1")
    kept = path.rename(tmp_path / "kept")
    folder.rmdir()
    server.send_signal(signal.SIGUSR1)
    server.wait_line("Log file not reopened, keeping the current one: ")
    server.get("/n2")
    server.stop()
    assert "no log files" not in server.output
    assert numbers(kept) == [1, 2]
