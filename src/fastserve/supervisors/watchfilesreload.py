"""--reload by what the operating system says, through watchfiles; not to be imported without that package."""

from __future__ import annotations

import logging
import queue
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from fastserve.config import Config
from fastserve.supervisors.child import held_signals
from fastserve.supervisors.file_filter import FileFilter

if TYPE_CHECKING:
    import socket


from watchfiles import watch

from fastserve.supervisors.basereload import LOOK_SECONDS, BaseReload

logger = logging.getLogger("fastserve.error")

__all__ = ["BaseReload", "Config", "FileFilter", "WatchFilesReload"]


class Asked:
    """The event that watchfiles looks at to see whether to stop: that it does says that it watches, by `asked`."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event
        self.asked = threading.Event()

    def is_set(self) -> bool:
        self.asked.set()
        return self.event.is_set()


class WatchFilesReload(BaseReload):
    """Is told of changes by the operating system, through watchfiles."""

    reloader_name = "WatchFiles"

    def __init__(
        self, config: Config, target: Callable[[list[socket.socket] | None], None], sockets: list[socket.socket]
    ) -> None:
        super().__init__(config, target, sockets)
        self.watch_filter = FileFilter(config)
        self.stop_event = Asked(self.should_exit)
        self.watcher = watch(
            *map(Path, config.reload_dirs or ()),
            # watchfiles logs what passes: in a log file of the watched folder that would be a change for ever.
            watch_filter=lambda change, path: self.watch_filter(Path(path)),
            stop_event=self.stop_event,
            step=50,
            ignore_permission_denied=True,
            raise_interrupt=False,
        )
        watchfiles_logger = logging.getLogger("watchfiles.main")
        if watchfiles_logger.level == logging.NOTSET:
            watchfiles_logger.setLevel(logging.INFO)  # at DEBUG it logs what does not pass as well
        # While files change that do not matter watchfiles says nothing: it has a thread, so that this one looks at the
        # process all the same.
        self.thread = threading.Thread(target=self.watch, name="watchfiles", daemon=True)
        self.found: queue.SimpleQueue[set[Path] | None] = queue.SimpleQueue()
        self.failure: BaseException | None = None

    def watch(self) -> None:
        """Put what changes into `found`, and None at the end, which `failure` may have brought about."""
        try:
            for changes in self.watcher:
                self.found.put({Path(name) for _, name in changes})
        except BaseException as exc:
            self.failure = exc
        finally:
            self.found.put(None)
            self.stop_event.asked.set()

    def begin(self) -> None:
        """Start watching, if need be: from here on no change is missed. Raises what makes that impossible."""
        if self.thread.ident is None:
            with held_signals():  # which are for the main thread
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
