"""The parent of workers that are threads of its process (--worker-class thread).

The application is imported once, a factory is called once, and all workers serve that one object, each in an event loop
of its own with a lifespan of its own. The parent is the main thread, so it gets the signals; it starts, replaces and
stops threads as it does processes. What differs: a thread cannot be killed, and does not import the application anew.
"""

from __future__ import annotations

import copy
import logging
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable
from typing import Any

from fastserve._core.http import inflight
from fastserve.config import Config
from fastserve.metrics.pages import OwnPage
from fastserve.metrics.watched import Watched
from fastserve.net.listeners import PlainSockets
from fastserve.supervisors import hang_report
from fastserve.supervisors.messages import LEVEL, REOPEN
from fastserve.supervisors.multiprocess import Multiprocess, which
from fastserve.supervisors.process import Process
from fastserve.supervisors.slot import Slot
from fastserve.supervisors.thread import Outbox, ThreadProcess

SHARED = "Worker threads share one core: %s. Use --worker-class process, or a Python without that lock."
HAS_LOCK = "this Python has a global interpreter lock"
TOOK_LOCK = "the global interpreter lock is on, because of PYTHON_GIL or of an extension module that needs it"

logger = logging.getLogger("fastserve.error")


class WorkerThread(Process):
    """A worker that is a thread: `config` has the application itself in `app`."""

    process: ThreadProcess

    def __init__(
        self,
        config: Config,
        sockets: list[socket.socket],
        plain: PlainSockets,
        watched: Watched,
        place: int,
        wake: Callable[[], None],
    ) -> None:
        self.note(config, watched, place)
        assert self.live is not None
        self.outbox = Outbox(wake)
        self.process = ThreadProcess(config, sockets, plain, self.live.page, place, self.outbox)

    def begin(self) -> None:
        self.process.start()

    def tell_to_stop(self) -> bool:
        if not self.process.is_alive():
            return False
        self.process.server.handle_exit(signal.SIGTERM, None)
        return True

    def send(self, message: tuple[Any, ...]) -> None:
        if message[0] not in (LEVEL, REOPEN):  # the parent has done that for the whole process
            self.process.link.take(*message)

    @property
    def handles(self) -> list[Any]:
        return []

    def receive(self) -> None:
        messages = self.outbox.messages
        while messages:
            self.take(messages.popleft())

    def ping(self, timeout: float = 5) -> bool:
        self.ask()
        self.receive()
        return self.process.is_alive()

    def where(self, patience: float = hang_report.PATIENCE_SECONDS) -> str:
        return self.process.where()

    def close(self) -> None:
        # Its sockets are the thread's to close: one that hangs still has them in its event loop.
        if self.watched is not None and self.live is not None:
            self.watched.pages.end(self.live)


class Multithread(Multiprocess):
    """Keeps `config.workers` threads of this process serving on bound sockets: call run(). `should_exit` stops it."""

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.shared = copy.copy(config)  # which each worker gets a copy of
        self.own_live = self.watched.pages.begin(0, OwnPage())
        inflight.keep()

    def init_processes(self) -> None:
        try:
            with self.signals.interrupting():  # an import may take long, and nothing else looks at the signals
                self.shared.app, self.shared.factory = self.config.made_app(), False
        except SystemExit:
            self.fail()
            return
        except KeyboardInterrupt:
            if not self.signals.queue:
                raise
            return
        if getattr(sys, "_is_gil_enabled", lambda: True)():
            logger.warning(SHARED, TOOK_LOCK if sysconfig.get_config_var("Py_GIL_DISABLED") else HAS_LOCK)
        super().init_processes()

    def made_process(self, slot: Slot, plain: PlainSockets) -> Process:
        return WorkerThread(self.shared, slot.sockets, plain, self.watched, slot.place, self.signals.wake)

    def end_silent(self, process: Process, silence: str) -> None:
        message = "Child process [%d] %s. A thread cannot be killed: it ends once it goes on. It is at:\n%s"
        logger.error(message, process.pid, silence, process.where(), extra=which(process))
        process.kill()

    def log_death(self, process: Process, delay: float = 0.0) -> None:
        if process.exitcode is not None:  # of one that still runs, end_silent() has said all
            super().log_death(process, delay)

    def restart_all(self) -> None:
        logger.info("New worker threads serve the application that was imported at the start; SIGUSR2 imports it anew.")
        super().restart_all()

    def summary(self) -> str:
        return f"Serving with {len(self.slots)} worker threads"

    def leave_counts(self) -> None:
        """Count what the application itself has counted among what has ended, for a successor."""
        self.watched.pages.end(self.own_live)
