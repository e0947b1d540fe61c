"""The parent of one process that is started again when files change: development.

The listening sockets stay open all the while: what connects while there is no process, or one that does not import,
is served by the next one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from fastserve.logs import style
from fastserve.signals import HANDLED_SIGNALS
from fastserve.supervisor.messages import READY
from fastserve.supervisor.worker import Process, fate
from fastserve.watching import Filter

if TYPE_CHECKING:
    import socket

    from fastserve.config import Config
    from fastserve.notify import Notifier

PATIENCE_SECONDS = 5.0  # for the process to end, where no timeout_graceful_shutdown says it; then the same by force
POLL_SECONDS = 0.05

logger = logging.getLogger("fastserve.error")


class BaseReload:
    """Runs `target(sockets=sockets)` in a process, a new one whenever should_restart() returns files: run() it."""

    reloader_name: str | None = None

    def __init__(
        self, config: Config, target: Callable[[list[socket.socket] | None], None], sockets: list[socket.socket]
    ) -> None:
        self.config = config
        self.target = target
        self.sockets = sockets
        self.should_exit = threading.Event()
        self.pid = os.getpid()
        self.notifier: Notifier | None = None
        self.process: Process
        self.told: list[int] = []  # the signals that said to stop
        self.ended_before = False  # its process has ended, and that has been logged

    def signal_handler(self, sig: int, frame: FrameType | None) -> None:
        self.told.append(sig)
        self.should_exit.set()

    def run(self) -> None:
        """Start the process and watch for changes until told to stop; return when the process has ended."""
        before = self.startup()
        try:
            for changes in self:
                self.look()
                if changes:
                    files = ", ".join(map(display_path, changes))
                    logger.warning("%s detected changes in %s. Reloading...", self.reloader_name, files)
                    self.restart()
        finally:
            self.shutdown()
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def __iter__(self) -> Iterator[list[Path] | None]:
        return self

    def __next__(self) -> list[Path] | None:
        """Return the files that have changed, if any have. Raises StopIteration when it is time to stop."""
        if self.should_exit.is_set():
            raise StopIteration
        return self.should_restart()

    def should_restart(self) -> list[Path] | None:
        """Wait a while, and return the files that have changed. Raises StopIteration when it is time to stop."""
        raise NotImplementedError

    def pause(self) -> None:
        """Wait until it is time for another look. Raises StopIteration when it is time to stop."""
        if self.should_exit.wait(self.config.reload_delay):
            raise StopIteration

    def startup(self) -> dict[signal.Signals, Any]:
        """Log, start the process, and return who handled signals before."""
        message = "Started reloader process [%d] using %s"
        coloured = f"Started reloader process [{style('%d', fg='cyan', bold=True)}] using {style('%s', fg='cyan')}"
        logger.info(message, self.pid, self.reloader_name, extra={"color_message": coloured})
        before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, self.signal_handler) for number in HANDLED_SIGNALS}
        self.start()
        return before

    def start(self) -> None:
        self.ended_before = False
        self.process = Process(self.config, self.sockets, target=self.target)
        self.process.start()

    def look(self) -> None:
        """See how the process is doing."""
        self.process.receive()
        for kind, *_ in self.process.take_events():
            if kind == READY and self.notifier is not None:
                self.notifier.ready()
        if self.notifier is not None:
            self.notifier.watchdog()
        if not self.process.process.is_alive() and not self.ended_before:
            self.ended_before = True
            logger.warning("The server process [%d] has ended: %s. Waiting for changes.", *self.end())

    def end(self) -> tuple[int | None, str]:
        return self.process.pid, fate(self.process.exitcode)

    def restart(self) -> None:
        """Have the next process take the place of this one, which ends first."""
        self.stop()
        if not self.should_exit.is_set():
            self.start()

    def stop(self) -> None:
        """Have the process end after the requests that are under way; return when it has ended."""
        patience = self.config.timeout_graceful_shutdown
        patience = self.config.shutdown_delay + (PATIENCE_SECONDS if patience is None else patience + 1.0)
        self.process.tell_to_stop()
        told = len(self.told)
        for until, insist in ((patience, self.force), (PATIENCE_SECONDS, self.process.kill)):
            end = time.monotonic() + until
            while self.process.process.is_alive() and time.monotonic() < end:
                if len(self.told) > max(told, 1):
                    told = len(self.told)
                    self.process.hasten(self.told.count(self.told[-1]), self.told[-1] == signal.SIGINT)
                self.process.process.join(POLL_SECONDS)
            if self.process.process.is_alive():
                insist()
        self.process.join()

    def force(self) -> None:
        logger.warning("The server process [%d] does not end: it is stopped by force.", self.process.pid)
        self.process.hasten(3, True)

    def shutdown(self) -> None:
        """Stop the process and close the sockets."""
        if self.notifier is not None:
            self.notifier.stopping()
        self.stop()
        for sock in self.sockets:
            sock.close()
        message = "Stopping reloader process [%d]"
        coloured = message.replace("%d", style("%d", fg="cyan", bold=True))
        logger.info(message, self.pid, extra={"color_message": coloured})


class StatReload(BaseReload):
    """Looks at the modification time of every file, again and again."""

    reloader_name = "StatReload"

    def __init__(
        self, config: Config, target: Callable[[list[socket.socket] | None], None], sockets: list[socket.socket]
    ) -> None:
        super().__init__(config, target, sockets)
        self.filter = Filter(config)
        self.mtimes = self.found()

    def should_restart(self) -> list[Path] | None:
        self.pause()
        before, self.mtimes = self.mtimes, self.found()
        if before == self.mtimes:
            return None
        names = before.keys() | self.mtimes.keys()
        return sorted(Path(name) for name in names if before.get(name) != self.mtimes.get(name))

    def found(self) -> dict[str, float]:
        """Return the modification time of every file that matters."""
        times: dict[str, float] = {}
        for directory in self.config.reload_dirs or ():
            for folder, folders, files in os.walk(directory):
                folders[:] = [name for name in folders if name != "__pycache__"]
                for name in files:
                    path = Path(folder, name)
                    if self.filter(path):
                        with contextlib.suppress(OSError):
                            times[str(path)] = path.stat().st_mtime
        return times


class WatchFilesReload(BaseReload):
    """Is told of changes by the operating system, through watchfiles."""

    reloader_name = "WatchFiles"

    def __init__(
        self, config: Config, target: Callable[[list[socket.socket] | None], None], sockets: list[socket.socket]
    ) -> None:
        from watchfiles import watch

        super().__init__(config, target, sockets)
        self.watch_filter = Filter(config)
        self.watcher = watch(
            *map(Path, config.reload_dirs or ()),
            watch_filter=None,
            stop_event=self.should_exit,
            step=50,
            rust_timeout=500,
            yield_on_timeout=True,
            ignore_permission_denied=True,
            raise_interrupt=False,
        )

    def startup(self) -> dict[signal.Signals, Any]:
        next(self.watcher)  # from here on no change is missed
        return super().startup()

    def should_restart(self) -> list[Path] | None:
        changes = next(self.watcher)
        paths = {Path(name) for _, name in changes}
        return sorted(path for path in paths if self.watch_filter(path))


def change_reload() -> type[BaseReload]:
    """Return the class for --reload: WatchFilesReload where watchfiles imports, else StatReload."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        return StatReload
    return WatchFilesReload


def display_path(path: Path) -> str:
    try:
        return f"'{path.relative_to(Path.cwd())}'"
    except ValueError:
        return f"'{path}'"
