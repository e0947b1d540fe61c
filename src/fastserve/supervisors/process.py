"""The parent's handle of one worker process."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

from fastserve.supervisors import child, hang_report
from fastserve.supervisors.messages import CLOSED, HASTEN, PING, PONG, READY, REOPEN, RETIRE

if TYPE_CHECKING:
    import socket

    from fastserve.config import Config

STARTING = 12  # a worker that starts may be silent so many times longer: imports can hold the interpreter for long

logger = logging.getLogger("fastserve.error")


class Process:
    """A worker process: start() it, look at what it sends with receive(), then retire() or terminate() and join() it.

    It calls `target(sockets=sockets)`; without one it is one of several workers, which asks for its replacement.
    """

    def __init__(
        self,
        config: Config,
        sockets: list[socket.socket],
        target: child.Target | None = None,
        plain: frozenset[int] | None = None,
    ) -> None:
        self.config = config
        self.parent_conn, self.child_conn = Pipe()
        self.dump_reader, self.dump_writer = Pipe(duplex=False)
        self.process = child.process(
            config, target, sockets, self.child_conn, self.dump_writer, replaces=target is None, plain=plain
        )
        self.events: deque[tuple[Any, ...]] = deque()  # what it said that is not an answer
        self.ready = False
        self.ready_seconds = 0.0  # that it took to get ready
        self.started_at = self.answered_at = time.monotonic()
        self.asked_at: float | None = None  # when it was asked for an answer that has not come
        self.loop_silence: float | None = None  # seconds without its event loop, when it last answered
        self.block_noted = False  # that its event loop is blocked now
        self.listens = True  # or may yet
        self.pongs = 0
        self.deaf = False  # its end of the connection is closed

    # Starting and ending

    def start(self) -> None:
        """Start the process. Raises ValueError, OSError."""
        self.started_at = self.answered_at = time.monotonic()
        try:
            child.start(self.process)
        except BaseException:
            self.close()
            raise
        self.child_conn.close()
        self.dump_writer.close()

    def terminate(self) -> None:
        """Tell it to stop after the requests that are under way, and log that."""
        if self.tell_to_stop():
            logger.info("Terminated child process [%d]", self.process.pid)

    def tell_to_stop(self) -> bool:
        """Tell it to stop after the requests that are under way, and say whether it was there to hear that."""
        if self.process.exitcode is not None or self.process.pid is None:
            return False
        number = signal.SIGTERM if os.name == "posix" else getattr(signal, "CTRL_BREAK_EVENT")  # noqa: B009
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        return True

    def retire(self) -> None:
        """Tell it that another one has taken over: to let its clients go without losing a request, and stop."""
        self.send((RETIRE,))

    def hasten(self, times: int, interrupted: bool) -> None:
        """Tell it how often the server has been told to stop."""
        self.send((HASTEN, times, interrupted))

    def reopen(self) -> None:
        """Tell it to open its log files again."""
        self.send((REOPEN,))

    def kill(self) -> None:
        self.process.kill()

    def join(self) -> None:
        """Wait until it has ended."""
        self.process.join()
        self.close()

    def close(self) -> None:
        for connection in (self.parent_conn, self.child_conn, self.dump_reader, self.dump_writer):
            connection.close()

    # Talking

    def send(self, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError, ValueError):  # its end tells more
            self.parent_conn.send(message)

    def ask(self, interval: float = 0.0) -> None:
        """Ask for an answer, unless one is still to come or the last one came less than `interval` seconds ago."""
        now = time.monotonic()
        if self.asked_at is None and now - self.answered_at >= interval:
            self.asked_at = now
            self.send((PING,))

    def take_events(self) -> Iterator[tuple[Any, ...]]:
        """Take what it has said that is not an answer."""
        while self.events:
            yield self.events.popleft()

    @property
    def handles(self) -> list[Any]:
        """What can be waited for until it says something or ends."""
        return [self.process.sentinel] if self.deaf else [self.process.sentinel, self.parent_conn]

    def receive(self) -> None:
        """Take what it has sent: answers as they are, anything else into `events`."""
        try:
            while self.parent_conn.poll():
                message = self.parent_conn.recv()
                if message[0] == PONG:
                    _, self.ready, self.loop_silence = message
                    self.asked_at = None
                    self.answered_at = time.monotonic()
                    self.pongs += 1
                    continue
                if message[0] == CLOSED:
                    self.listens = False
                    continue
                if message[0] == READY:
                    self.ready = True
                    self.ready_seconds = time.monotonic() - self.started_at
                self.events.append(message)
        except (OSError, EOFError):
            self.deaf = True  # its end tells more

    def ping(self, timeout: float = 5) -> bool:
        """Wait for an answer to a new question, for `timeout` seconds at most, and say whether it came."""
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
        """Say whether it answers in time that it serves."""
        return self.ping(timeout) and self.ready

    def is_alive(self, timeout: float = 5) -> bool:
        """Say whether the process runs and has not been silent for more than `timeout` seconds."""
        return self.process.is_alive() and self.silence(timeout) is None

    def silence(self, timeout: float) -> str | None:
        """Return what has been silent for too long, None if nothing has."""
        if self.asked_at is not None:
            seconds = time.monotonic() - self.asked_at
            if seconds > (timeout if self.ready else timeout * STARTING):
                return f"has not answered for {seconds:.1f} s"
        longest_block = self.config.timeout_worker_blocked
        if longest_block is not None and self.loop_silence is not None and self.loop_silence > longest_block:
            return f"has an event loop that has been blocked for {self.loop_silence:.1f} s"
        return None

    def new_block(self, timeout: float) -> float | None:
        """Return for how long its event loop has been blocked: once for each time that this exceeds `timeout` seconds,
        None otherwise.
        """
        if self.loop_silence is None or self.loop_silence <= timeout:
            self.block_noted = False
        elif not self.block_noted:
            self.block_noted = True
            return self.loop_silence
        return None

    def forgive(self, seconds: float) -> None:
        """Take it that the parent itself stood still for so long."""
        if self.asked_at is not None:
            self.asked_at += seconds

    def where(self) -> str:
        """Have it write down what it is at, and return that."""
        if self.process.pid is None or not (self.pongs or self.ready):
            return ""  # it is not prepared for that yet
        return hang_report.asked(self.process.pid, self.dump_reader)

    def age(self) -> float:
        """Return the seconds since it was started."""
        return time.monotonic() - self.started_at

    def served(self) -> float:
        """Return the seconds since it got ready."""
        return self.age() - self.ready_seconds if self.ready else 0.0

    @property
    def pid(self) -> int | None:
        return self.process.pid

    @property
    def exitcode(self) -> int | None:
        return self.process.exitcode


def fate(code: int | None) -> str:
    """Say how a process ended."""
    if code is None:
        return "it runs"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
