"""The parent of one process that restarts when files change, for development.

The listening sockets stay open: clients that connect while no process runs, or one that fails to import, are served by
the next one.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from fastserve._subprocess import get_subprocess
from fastserve.config import STARTUP_FAILURE, Config
from fastserve.logging.formatters import style
from fastserve.logging.log_files import take_user_signal
from fastserve.metrics.source import ParentSource
from fastserve.metrics.watched import Watched
from fastserve.operations.orders import Order, Refused
from fastserve.operations.verbs import Asked
from fastserve.process.signals import HANDLED_SIGNALS, Own, put_back, user_signals_handled
from fastserve.supervisors.messages import READY
from fastserve.supervisors.parent import Parent
from fastserve.supervisors.process import Process, fate
from fastserve.supervisors.slot import Slot

if TYPE_CHECKING:
    from fastserve.metrics.service import Service
    from fastserve.operations.control import Control
    from fastserve.process.service_manager import Notifier

PATIENCE_SECONDS = 5.0  # for the process to end without timeout_graceful_shutdown; then again when forced
POLL_SECONDS = 0.05
LOOK_SECONDS = 0.5  # longest time between two checks of the process
HANGUP = getattr(signal, "SIGHUP", None)

logger = logging.getLogger("fastserve.error")

__all__ = ["HANDLED_SIGNALS", "BaseReload", "Config", "get_subprocess", "logger", "style"]


class BaseReload(Parent):
    """Runs `target(sockets=sockets)` in a process, and again in a new one when should_restart() returns files."""

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
        self.metrics: Service | None = None  # serves what the process counts
        self.control: Control | None = None
        self.orders: deque[Order] = deque()  # of the control socket
        self.watched = Watched()
        self.close_listeners: Callable[[], object] | None = None  # called once no process is listening
        self.process: Process
        self.told: list[int] = []  # signals that requested a stop
        self.user_signals: deque[int] = deque()
        self.closing = False  # the parent itself is stopping
        self.ended_before = False  # the end of the process has been logged
        self.slot = Slot(sockets, [])  # counts consecutive failures of the process
        self.waits_for_changes = False  # before it starts the next process
        self.hung_up = False  # SIGHUP has come
        self.reloading = False  # because of it
        self.has_terminal = False  # so SIGHUP may mean that it was closed

    def signal_handler(self, sig: int, frame: FrameType | None) -> None:
        self.told.append(sig)
        self.should_exit.set()

    def hangup_handler(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGHUP: restart the server, or stop if its terminal was closed."""
        if self.has_terminal and not terminal_is_there():
            self.signal_handler(sig, frame)
        else:
            self.hung_up = True

    def run(self) -> None:
        """Run the process and restart it on changes until told to stop; return when it has ended."""
        source = ParentSource(self.watched, self.states, self.is_ready, lambda: self.sockets)
        before = self.startup()
        if self.metrics is not None:
            self.metrics.start(source)
        if self.control is not None:
            self.control.start(source, self)
        try:
            with user_signals_handled(lambda sig, frame: self.user_signals.append(sig)):
                self.restart_at_changes()
        finally:
            self.shutdown()
            if self.metrics is not None:
                self.metrics.stop()
            if self.control is not None:
                self.control.stop()
            put_back(before)

    def is_ready(self) -> bool:
        """Return whether the process serves, and there is no stop."""
        return not (self.should_exit.is_set() or self.drained) and self.process.ready

    def states(self) -> dict[int, str]:
        """Return what the process does, by its pid."""
        pid = self.process.pid
        return {} if pid is None else {pid: "ready" if self.process.ready else "starting"}

    def restart_at_changes(self) -> None:
        """Restart the process on each change, and on SIGHUP, until told to stop."""
        for changes in self:
            self.look()
            if changes:
                files = ", ".join(map(display_path, changes))
                logger.warning("%s detected changes in %s. Reloading...", self.reloader_name, files)
                self.restart()
            elif self.hung_up:
                logger.info("Received SIGHUP, restarting the server process.")
                self.reloading = True
                if self.notifier is not None:
                    self.notifier.reloading()
                self.restart()

    def __iter__(self) -> Iterator[list[Path] | None]:
        return self

    def __next__(self) -> list[Path] | None:
        """Return the changed files, None for none. Raises StopIteration when it is time to stop."""
        if self.should_exit.is_set():
            raise StopIteration
        return self.should_restart()

    def should_restart(self) -> list[Path] | None:
        """Wait a while and return the changed files. Raises StopIteration when it is time to stop."""
        raise NotImplementedError

    def pause(self) -> None:
        """Wait until the next check is due. Raises StopIteration when it is time to stop."""
        end = time.monotonic() + self.config.reload_delay
        while not self.should_exit.wait(max(min(end - time.monotonic(), LOOK_SECONDS), 0.0)):
            if self.hung_up or time.monotonic() >= end:
                return
        raise StopIteration

    def startup(self) -> dict[signal.Signals, Any]:
        """Start the process; return the previous handlers of signals."""
        message = "Started reloader process [%d] using %s"
        coloured = f"Started reloader process [{style('%d', fg='cyan', bold=True)}] using {style('%s', fg='cyan')}"
        logger.info(message, self.pid, self.reloader_name, extra={"color_message": coloured})
        before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            handler = Own(self.signal_handler)
            before = {number: signal.signal(number, handler) for number in HANDLED_SIGNALS}
            if HANGUP is not None:
                before[HANGUP] = signal.signal(HANGUP, Own(self.hangup_handler))
                # A process started with SIGHUP ignored (nohup) should outlive its terminal.
                self.has_terminal = before[HANGUP] != signal.SIG_IGN and terminal_is_there()
        self.start()
        return before

    def start(self) -> None:
        self.ended_before = self.waits_for_changes = self.hung_up = False
        self.process = Process(self.config, self.sockets, target=self.target, watched=self.watched)
        self.process.start()
        self.brief(self.process)

    def look(self) -> None:
        """Handle what the process has sent, and restart it if it has ended."""
        while self.user_signals:
            number = self.user_signals.popleft()
            take_user_signal(number)
            if number == signal.SIGUSR1:
                self.process.reopen()
        while self.orders:
            self.orders.popleft().carry_out(self.obey)
        self.process.receive()
        for kind, *_ in self.process.take_events():
            if kind == READY:
                self.reloading = False
                if self.notifier is not None:
                    self.notifier.ready()
        if self.notifier is not None:
            self.notifier.watchdog()
        if self.process.process.is_alive():
            return
        if not self.ended_before:
            self.ended_before = True
            self.log_end()
        if not self.waits_for_changes and time.monotonic() >= self.slot.due and not self.should_exit.is_set():
            self.process.join()
            self.start()

    # Orders of the control socket

    def submit(self, order: Order) -> None:
        self.orders.append(order)

    @property
    def everyone(self) -> list[Process]:
        return [self.process]

    def process_of(self, asked: Asked) -> Process:
        if asked.worker:
            raise Refused(404, f"there is no worker {asked.worker}")
        return self.process

    def order_reload(self, asked: Asked) -> Any:
        self.hung_up = True
        return {"reloading": 1}

    def order_replace(self, asked: Asked) -> Any:
        self.process_of(asked)
        return self.order_reload(asked)

    def order_stop(self, asked: Asked) -> Any:
        quick = asked.value == "quick"
        self.told += [signal.SIGINT] * 3 if quick else [signal.SIGTERM]
        if quick:
            self.process.hasten(3, True)
        self.should_exit.set()
        return {"stopping": asked.value}

    def order_scale(self, asked: Asked) -> Any:
        raise Refused(409, "there is one process with --reload")

    def log_end(self) -> None:
        """Decide when to start the next process after one has ended, and log it.

        A process that failed to start waits for changes; one that served, or was killed, is restarted.
        """
        code = self.process.exitcode
        killed = code is not None and code < 0
        self.waits_for_changes = code == STARTUP_FAILURE or not (killed or self.process.ready)
        if self.waits_for_changes:
            further = "Waiting for changes."
            if self.reloading and self.notifier is not None:
                self.notifier.ready()  # ends a failed reload as well
            self.reloading = False
        else:
            delay = self.slot.failed(self.process) if code else 0.0
            further = f"Restarting it in {delay:g} s." if delay else "Restarting it."
        logger.warning("The server process [%d] has ended: %s. %s", self.process.pid, fate(code), further)

    def restart(self) -> None:
        """Stop the process, then start the next one."""
        self.slot.failures = 0
        self.hung_up = False
        self.stop()
        if not self.should_exit.is_set():
            self.start()

    def stop(self) -> None:
        """Stop the process after the requests under way; return when it has ended."""
        patience = self.config.timeout_graceful_shutdown
        patience = (
            self.config.shutdown_delay
            + self.config.shutdown_green
            + (PATIENCE_SECONDS if patience is None else patience + 1.0)
        )
        self.process.tell_to_stop()
        told = len(self.told)
        for until, insist in ((patience, self.force), (PATIENCE_SECONDS, self.process.kill)):
            end = time.monotonic() + until
            while self.process.process.is_alive() and time.monotonic() < end:
                if len(self.told) > max(told, 1):
                    told = len(self.told)
                    self.process.hasten(self.told.count(self.told[-1]), self.told[-1] == signal.SIGINT)
                wait(self.process.handles, POLL_SECONDS)
                self.stop_listening()
            if self.process.process.is_alive():
                insist()
        self.process.join()

    def stop_listening(self) -> None:
        """Close the parent's copies of the listening sockets when it is stopping and the process has closed its own.

        From then on clients are refused instead of reset later, and the next server can bind.
        """
        self.process.receive()
        if self.closing and not self.process.listens and self.close_listeners is not None:
            self.close_listeners()
            self.close_listeners = None
            logger.debug("The server process has stopped listening: connections are refused.")

    def force(self) -> None:
        logger.warning("The server process [%d] does not stop: forcing it to exit.", self.process.pid)
        self.process.hasten(3, True)

    def shutdown(self) -> None:
        """Stop the process and close the sockets."""
        if self.notifier is not None:
            self.notifier.stopping()
        self.closing = True
        self.stop()
        for sock in self.sockets:
            sock.close()
        message = "Stopping reloader process [%d]"
        coloured = message.replace("%d", style("%d", fg="cyan", bold=True))
        logger.info(message, self.pid, extra={"color_message": coloured})


def terminal_is_there() -> bool:
    """Return whether this process has a controlling terminal, which is lost when the terminal is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError:
        return False
    return True


def display_path(path: Path) -> str:
    try:
        return f"'{path.relative_to(Path.cwd())}'"
    except ValueError:
        return f"'{path}'"
