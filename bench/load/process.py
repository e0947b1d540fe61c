"""Child processes that cannot outlive the run: a server on its core, started, found, measured and stopped."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from bench.load import machine

ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_libc = ctypes.CDLL(None)


class Failed(Exception):
    """A server or the load generator did not do its part; the text says which and how."""


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def spawn(
    command: Sequence[str], core: int | None, output: IO[bytes] | int, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Starts the command in the project's root on one core; it is told to stop should this process die."""
    paths = [path for path in (environment.get("PYTHONPATH"), str(ROOT), os.environ.get("PYTHONPATH")) if path]
    full = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)}
    with machine.pinned(core):
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=full,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl+C comes to this process alone, which then stops its children in order
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (there are no threads)
        )


class Running:
    """A server from its start to its stop, a context manager; `log` takes all that it prints."""

    def __init__(
        self, name: str, command: Sequence[str], core: int | None, log: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        self.port = 0
        self._output = log.open("wb")
        self._process = spawn(command, core, self._output, environment)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *details: object) -> None:
        self.stop()

    def wait_listening(self) -> None:
        """Returns once the server listens, with `port` set. Failed when it exits before or takes more than 30 s."""
        self._poll(lambda: machine.listening_port(machine.tree(self._process.pid)), "does not listen")

    def wait_answer(self, ask: Callable[[int], object]) -> None:
        """Returns once `ask(port)` does not raise OSError any more, with `port` set. Failed as wait_listening."""

        def attempt() -> int | None:
            port = machine.listening_port(machine.tree(self._process.pid))
            if port is not None:
                with contextlib.suppress(OSError):
                    ask(port)
                    return port
            return None

        self._poll(attempt, "does not answer")

    def _poll(self, attempt: Callable[[], int | None], complaint: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            port = attempt()
            if port is not None:
                self.port = port
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(0.001)
                raise Failed(f"{self.name} exited with code {code}: {self.last_words()}")
        raise Failed(f"{self.name} {complaint} after {_START_SECONDS:.0f} s: {self.last_words()}")

    def pids(self) -> list[int]:
        """The server's processes, children included. Failed when it is gone."""
        pids = machine.tree(self._process.pid)
        if self._process.poll() is not None or not pids:
            raise Failed(f"{self.name} died under load: {self.last_words()}")
        return pids

    def last_words(self) -> str:
        """The last line of its output that has anything on it."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

    def stop(self) -> None:
        """SIGTERM, after 10 s SIGKILL, for the server and all its children; returns when they are gone."""
        pids = machine.tree(self._process.pid)
        stop(self._process)
        for pid in pids[1:]:
            # A worker normally goes with its parent; one that is left was ours to start, so it is ours to end.
            with contextlib.suppress(OSError):
                if os.getpgid(pid) == self._process.pid:
                    os.kill(pid, signal.SIGKILL)
        self._output.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a child, gently first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
