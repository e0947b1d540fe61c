"""--reload by file events of the operating system, through watchfiles; needs that package to be imported."""

from __future__ import annotations

import logging
import queue
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from watchfiles import watch

from fastserve.config import Config
from fastserve.supervisors.basereload import LOOK_SECONDS, BaseReload
from fastserve.supervisors.child import held_signals
from fastserve.supervisors.file_filter import FileFilter

logger = logging.getLogger("fastserve.error")

__all__ = ["BaseReload", "Config", "FileFilter", "WatchFilesReload"]


class Asked:
    """The stop event of watchfiles: that it is first polled, noted in `asked`, shows that watching has begun."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event
        self.asked = threading.Event()

    def is_set(self) -> bool:
        self.asked.set()
        return self.event.is_set()


class WatchFilesReload(BaseReload):
    """Gets changes from the operating system, through watchfiles."""

    reloader_name = "WatchFiles"

    def __init__(
        self, config: Config, target: Callable[[list[socket.socket] | None], None], sockets: list[socket.socket]
    ) -> None:
        super().__init__(config, target, sockets)
        self.watch_filter = FileFilter(config)
        self.stop_event = Asked(self.should_exit)
        self.watcher = watch(
            *map(Path, config.reload_dirs or ()),
            # watchfiles logs what passes the filter: a log file in the watched folder would then change for ever.
            watch_filter=lambda change, path: self.watch_filter(Path(path)),
            stop_event=self.stop_event,
            step=50,
            ignore_permission_denied=True,
            raise_interrupt=False,
        )
        watchfiles_logger = logging.getLogger("watchfiles.main")
        if watchfiles_logger.level == logging.NOTSET:
            watchfiles_logger.setLevel(logging.INFO)  # at DEBUG it logs filtered changes as well
        # In its own thread, as watchfiles does not return while only filtered files change, and the process must be
        # checked nevertheless.
        self.thread = threading.Thread(target=self.watch, name="watchfiles", daemon=True)
        self.found: queue.SimpleQueue[set[Path] | None] = queue.SimpleQueue()
        self.failure: BaseException | None = None

    def watch(self) -> None:
        """Put changes into `found`, and None at the end, with `failure` set if an error ended it."""
        try:
            for changes in self.watcher:
                self.found.put({Path(name) for _, name in changes})
        except BaseException as exc:
            self.failure = exc
        finally:
            self.found.put(None)
            self.stop_event.asked.set()

    def begin(self) -> None:
        """Start watching unless started: no change is missed from here on. Raises the error if watching fails."""
        if self.thread.ident is None:
            with held_signals():  # meant for the main thread
                self.thread.start()
            self.stop_event.asked.wait()
        if self.failure is not None:
            raise self.failure

    def startup(self) -> dict[signal.Signals, Any]:
        self.begin()
        return super().startup()

    def hangup_handler(self, sig: int, frame: FrameType | None) -> None:
        super().hangup_handler(sig, frame)
        self.found.put(set())  # wakes should_restart()

    def should_restart(self) -> list[Path] | None:
        self.begin()
        try:
            paths = self.found.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            return None
        if paths is None:
            self.begin()  # raises the failure
            raise StopIteration
        return sorted(paths)
