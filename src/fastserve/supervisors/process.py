"""The parent's handle of one worker process."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any

from fastserve.config import Config
from fastserve.supervisors import child, hang_report
from fastserve.supervisors.messages import CLOSED, DRAIN, HASTEN, LEVEL, PING, PONG, READY, REOPEN, REPORT, RETIRE
from fastserve.supervisors.template import ForkedProcess, Template

if TYPE_CHECKING:
    from fastserve.metrics.watched import Watched
    from fastserve.net.listeners import PlainSockets
    from fastserve.supervisors.thread import ThreadProcess

STARTING = 12  # how many times longer a starting worker may be silent: imports can hold the interpreter

logger = logging.getLogger("fastserve.error")


class Process:
    """A worker process: start() it, read what it sends with receive(), then retire() or terminate() and join() it.

    It calls `target(sockets=sockets)`; without a target it is one of several workers and may ask to be replaced. With a
    `template` it is forked from that.
    """

    process: SpawnProcess | ForkedProcess | ThreadProcess

    def __init__(
        self,
        config: Config,
        sockets: list[socket.socket],
        target: child.Target | None = None,
        plain: PlainSockets | None = None,
        watched: Watched | None = None,
        place: int = 0,
        template: Template | None = None,
    ) -> None:
        self.note(config, watched, place)
        self.parent_conn, self.child_conn = Pipe()
        self.dump_reader, self.dump_writer = Pipe(duplex=False)
        page = None if self.live is None else self.live.page
        ends = self.child_conn, self.dump_writer
        if template is None:
            self.process = child.process(config, target, sockets, *ends, target is None, plain, page, place)
        else:
            self.process = ForkedProcess(template, sockets, *ends, plain, page, place)

    def note(self, config: Config, watched: Watched | None, place: int) -> None:
        """Begin with what is known of a worker before it starts."""
        self.watched = watched  # counts what becomes of it
        self.place = place
        self.live = None if watched is None else watched.pages.begin(place)
        self.why: str | None = None  # it ends, where that is known
        self.config = config
        self.events: deque[tuple[Any, ...]] = deque()  # messages other than answers
        self.ready = False
        self.ready_seconds = 0.0  # from start to ready
        self.started_at = self.answered_at = time.monotonic()
        self.asked_at: float | None = None  # when the pending question was sent
        self.loop_silence: float | None = None  # seconds since its event loop ran, as of its last answer
        self.block_noted = False  # the current block of its event loop has been reported
        self.listens = True  # or will
        self.pongs = 0
        self.deaf = False  # its end of the connection is closed

    # Starting and ending

    def start(self) -> None:
        """Start the process. Raises ValueError, OSError."""
        self.started_at = self.answered_at = time.monotonic()
        try:
            self.begin()
        except BaseException:
            self.close()
            raise
        if self.watched is not None and self.live is not None:
            self.watched.started(self.live, self.process.pid)

    def begin(self) -> None:
        if isinstance(self.process, SpawnProcess):
            child.start(self.process)
        else:
            self.process.start()
        self.child_conn.close()
        self.dump_writer.close()

    def terminate(self) -> None:
        """Tell it to stop after the requests under way, and log that."""
        if self.tell_to_stop():
            logger.info("Terminated child process [%d]", self.process.pid)

    def tell_to_stop(self) -> bool:
        """Tell it to stop after the requests under way; return whether it was still running."""
        if self.process.exitcode is not None or self.process.pid is None:
            return False
        number = signal.SIGTERM if os.name == "posix" else getattr(signal, "CTRL_BREAK_EVENT")  # noqa: B009
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        return True

    def retire(self) -> None:
        """Tell it that another worker has taken over: to stop without losing a request."""
        self.send((RETIRE,))

    def hasten(self, times: int, interrupted: bool) -> None:
        """Tell it how often the server was told to stop."""
        self.send((HASTEN, times, interrupted))

    def reopen(self) -> None:
        """Tell it to open its log files again."""
        self.send((REOPEN,))

    def set_level(self, name: str) -> None:
        """Tell it the level of the server's loggers."""
        self.send((LEVEL, name))

    def drain(self, drained: bool) -> None:
        """Tell it whether --health says that no more requests are wanted."""
        self.send((DRAIN, drained))

    def kill(self) -> None:
        self.process.kill()

    def join(self) -> None:
        """Wait until it has ended."""
        self.process.join()
        if self.watched is not None and self.live is not None and self.live in self.watched.pages.live:
            self.watched.ended(self.live, self.process.exitcode, self.ready, self.why)
        self.close()

    def close(self) -> None:
        for connection in (self.parent_conn, self.child_conn, self.dump_reader, self.dump_writer):
            connection.close()
        self.deaf = True
        if self.watched is not None and self.live is not None:
            self.watched.pages.end(self.live)

    # Messages

    def send(self, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError, ValueError):  # its end is noticed elsewhere
            self.parent_conn.send(message)

    def ask(self, interval: float = 0.0) -> None:
        """Ask for an answer, unless one is pending or the last one came less than `interval` seconds ago."""
        now = time.monotonic()
        if self.asked_at is None and now - self.answered_at >= interval:
            self.asked_at = now
            self.send((PING,))

    def take_events(self) -> Iterator[tuple[Any, ...]]:
        """Yield and remove its messages other than answers."""
        while self.events:
            yield self.events.popleft()

    @property
    def handles(self) -> list[Any]:
        """Handles to wait on until it sends something or ends."""
        ends = [] if self.process.sentinel is None else [self.process.sentinel]
        return ends if self.deaf else [*ends, self.parent_conn]

    def receive(self) -> None:
        """Read what it has sent: handle answers, put other messages into `events`."""
        try:
            while self.parent_conn.poll():
                self.take(self.parent_conn.recv())
        except (OSError, EOFError):
            self.deaf = True  # its end is noticed elsewhere

    def take(self, message: tuple[Any, ...]) -> None:
        """Handle an answer; put another message into `events`."""
        if message[0] == PONG:
            _, self.ready, self.loop_silence = message
            self.asked_at = None
            self.answered_at = time.monotonic()
            self.pongs += 1
            return
        if message[0] == CLOSED:
            self.listens = False
            return
        if message[0] == READY:
            self.ready = True
            self.ready_seconds = time.monotonic() - self.started_at
        self.events.append(message)

    def ping(self, timeout: float = 5) -> bool:
        """Ask a new question; return whether it was answered within `timeout` seconds."""
        end = time.monotonic() + timeout
        wanted = self.pongs + (1 if self.asked_at is None else 2)
        while self.pongs < wanted:
            self.ask()
            left = end - time.monotonic()
            try:
                if left <= 0 or not self.parent_conn.poll(left):
                    return False
            except (OSError, EOFError):
                return False
            before = self.pongs
            self.receive()
            if before == self.pongs and not self.process.is_alive():
                return False
        return True

    def is_ready(self, timeout: float = 5) -> bool:
        """Return whether it answers in time, and serves."""
        return self.ping(timeout) and self.ready

    def wait_until_ready(self, timeout: float, should_exit: threading.Event | None = None) -> bool:
        """Return whether it serves within `timeout` seconds, and before it ends or `should_exit` is set."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0 and self.process.is_alive():
            if should_exit is not None and should_exit.is_set():
                return False
            if self.is_ready(min(left, 1.0)):
                return True
            wait(self.handles, min(left, 0.1))
        return False

    def is_alive(self, timeout: float = 5) -> bool:
        """Return whether the process runs and has not been silent for more than `timeout` seconds."""
        return self.process.is_alive() and self.silence(timeout) is None

    def silence(self, timeout: float) -> str | None:
        """Return what has been silent for too long, None if nothing."""
        if self.asked_at is not None:
            seconds = time.monotonic() - self.asked_at
            if seconds > (timeout if self.ready else timeout * STARTING):
                return f"has not answered for {seconds:.1f} s"
        longest_block = self.config.timeout_worker_blocked
        if longest_block is not None and self.loop_silence is not None and self.loop_silence > longest_block:
            return f"has an event loop that has been blocked for {self.loop_silence:.1f} s"
        return None

    def silent_why(self, timeout: float) -> str:
        """Return what a worker is counted under that has been silent for too long."""
        silence = self.silence(timeout) or ""
        return "loop" if "event loop" in silence else "silent"

    def new_block(self, timeout: float) -> float | None:
        """Return the seconds that its event loop is blocked, once per block longer than `timeout`; else None."""
        if self.loop_silence is None or self.loop_silence <= timeout:
            self.block_noted = False
        elif not self.block_noted:
            self.block_noted = True
            return self.loop_silence
        return None

    def forgive(self, seconds: float) -> None:
        """Do not count `seconds` in which the parent itself stood still."""
        if self.asked_at is not None:
            self.asked_at += seconds

    def where(self, patience: float = hang_report.PATIENCE_SECONDS) -> str:
        """Return its hang report, as far as it comes in `patience` seconds."""
        if self.process.pid is None or not (self.pongs or self.ready):
            return ""  # it has not enabled that yet
        return hang_report.asked(self.process.pid, self.dump_reader, lambda: self.send((REPORT,)), patience)

    def age(self) -> float:
        """Return the seconds since its start."""
        return time.monotonic() - self.started_at

    def served(self) -> float:
        """Return the seconds since it was ready."""
        return self.age() - self.ready_seconds if self.ready else 0.0

    @property
    def pid(self) -> int | None:
        return self.process.pid

    @property
    def exitcode(self) -> int | None:
        return self.process.exitcode


def fate(code: int | None) -> str:
    """Describe how a process ended."""
    if code is None:
        return "still running"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
