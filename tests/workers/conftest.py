from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import support

pytest.importorskip("gunicorn")

Start = Callable[..., "Gunicorn"]


class Gunicorn(support.Command):
    """A gunicorn process, whose workers' pids are those of its lines."""

    @property
    def port(self) -> int:
        return int(self.wait_line(r"Listening at: .*?https?://127\.0\.0\.1:(\d+)")[1])

    def wait_lines(self, pattern: str, count: int, timeout: float = support.PATIENCE) -> list[re.Match[str]]:
        """Return the first `count` matches of `pattern` in lines, waiting for them."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [match for line in self.lines if (match := re.search(pattern, line))]
                left = deadline - time.monotonic()
                if len(found) >= count:
                    return found[:count]
                if self._open == 0 or left <= 0:
                    raise AssertionError(f"only {len(found)} of {pattern!r} in:\n" + "\n".join(self.lines))
                self._changed.wait(left)

    def booted(self, count: int = 1) -> list[int]:
        """Return the pids of the first `count` workers that have started, waiting for them."""
        return [int(match[1]) for match in self.wait_lines(r"\[(\d+)\] \[INFO\] Application startup complete\.", count)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start gunicorn: start("app", *options, worker=, env=) -> Gunicorn; it is ended at the end."""
    running: list[Gunicorn] = []

    def start_gunicorn(app: str, *options: str, worker: str = "fastserve.workers.FastserveWorker", **more: Any) -> Any:
        here = str(Path(__file__).parent)
        argv = [sys.executable, "-m", "gunicorn", f"worker_apps:{app}", "--chdir", here, "--worker-class", worker]
        # Its control socket goes there.
        environment = {"XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path), **more.pop("env", {})}
        bind = () if "--bind" in options else ("--bind", "127.0.0.1:0")
        running.append(Gunicorn([*argv, *bind, *options], env=environment, **more))
        return running[-1]

    yield start_gunicorn
    for process in running:
        process.close()
