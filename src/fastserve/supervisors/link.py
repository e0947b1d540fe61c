"""The worker's end of its connection to the parent: a thread that answers as long as the interpreter can run."""

from __future__ import annotations

import faulthandler
import logging
import os
import platform
import random
import signal
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from fastserve.logging import log_files
from fastserve.logging.log_levels import set_level
from fastserve.supervisors import hang_report
from fastserve.supervisors.messages import CLOSED, DRAIN, HASTEN, LEVEL, PING, PONG, READY, REOPEN, REPORT, RETIRE, WORN

if TYPE_CHECKING:
    import asyncio

    from fastserve.options.table import Options

HEARTBEAT_SECONDS = 0.25  # between two beats of the event loop
ORPHAN_SECONDS = 30.0  # that an event loop may be blocked without a parent, unless an option sets it
STANDARD_ERROR = 2  # the descriptor: sys.stderr may be anything

logger = logging.getLogger("fastserve.error")


class LinkedServer(Protocol):
    """What a link asks of the server that it speaks for."""

    link: Link | None
    started: bool
    should_exit: bool

    @property
    def config(self) -> Options: ...

    def hasten(self, times: int, interrupted: bool) -> None: ...

    def retire(self) -> None: ...

    def drain(self, drained: bool) -> None: ...

    def handle_exit(self, sig: int, frame: FrameType | None) -> None: ...


class Sender(Protocol):
    """Where messages to the parent go, and its own come from."""

    def send(self, message: Any, /) -> None: ...

    def recv(self) -> Any: ...


class Link:
    """Answers the parent, asks it for a replacement, and stops the server when the parent is gone.

    `replaces` tells whether the parent starts another process on request.
    """

    def __init__(self, connection: Sender, replaces: bool) -> None:
        self.connection = connection
        self.replaces = replaces
        self.server: LinkedServer
        self.loop: asyncio.AbstractEventLoop | None = None
        self.lifetime: float | None = None
        self.since: float | None = None  # when it began to serve
        self.beaten: float | None = None  # when the loop last ran, while it should run
        self.worn = False
        self.orphaned = False  # the parent is gone
        self.sending = threading.Lock()

    @property
    def number(self) -> int:
        """The number of the worker in the log: that of its process."""
        return os.getpid()

    def join(self, server: LinkedServer) -> None:
        """Speak for a server from now on."""
        self.server = server
        server.link = self
        config = server.config
        if config.workers_lifetime is not None:
            self.lifetime = config.workers_lifetime + random.uniform(0, config.workers_lifetime_jitter)

    def attach(self, server: LinkedServer) -> None:
        """Connect a server with the parent, and start the thread."""
        self.join(server)
        threading.Thread(target=self.listen, name="fastserve link", daemon=True).start()

    # From the server

    def serving(self, loop: asyncio.AbstractEventLoop) -> None:
        """Report that the server listens."""
        self.loop = loop
        self.since = time.monotonic()
        self.beat()
        self.send((READY,))

    def beat(self) -> None:
        if self.loop is not None:
            self.beaten = time.monotonic()
            self.loop.call_later(HEARTBEAT_SECONDS, self.beat)

    def stopped_listening(self) -> None:
        """Report that the server has closed its listening sockets."""
        self.send((CLOSED,))

    def drained(self) -> None:
        """Note that all requests are done: the application may take its time to shut down."""
        self.loop = self.beaten = None

    def ask_replacement(self, reason: str, again_soon: bool = True) -> None:
        """Ask the parent to replace this worker, which keeps serving until it is told to retire.

        `again_soon` allows the next worker to be replaced as early as this one.
        """
        if not self.worn:
            self.worn = True
            self.send((WORN, reason, again_soon))

    def send(self, message: tuple[Any, ...]) -> None:
        try:
            with self.sending:
                self.connection.send(message)
        except OSError:
            pass  # listen() notices

    # From the parent

    def listen(self) -> None:
        """Follow the parent's messages until it is gone."""
        while True:
            try:
                kind, *arguments = self.connection.recv()
            except (EOFError, OSError):
                break
            if kind == REOPEN:
                self.reopen()
            elif kind == LEVEL:
                set_level(*arguments)
            elif kind == REPORT:
                hang_report.write()
            else:
                self.take(kind, *arguments)
        self.orphaned = True
        if not self.server.should_exit:
            logger.warning("The parent process is gone: stopping.")
            self.stop()
        self.watch_itself()

    def take(self, kind: str, *arguments: Any) -> None:
        """Follow a message that is about the server alone."""
        if kind == PING:
            self.answer()
        elif kind == HASTEN:
            self.server.hasten(*arguments)
        elif kind == DRAIN:
            self.server.drain(*arguments)
        elif kind == RETIRE:
            self.server.retire()

    def reopen(self) -> None:
        """Open log files again; the parent has said already why, and where there are none."""
        count = log_files.reopen()
        if count:
            logger.info("%d log file(s) opened again.", count)

    def watch_itself(self) -> None:
        """End the process, with the stacks of its threads on standard error, if it hangs without a parent."""
        patience = self.server.config.timeout_worker_healthcheck
        longest_block = self.server.config.timeout_worker_blocked or max(patience, ORPHAN_SECONDS)
        while True:
            beaten = self.beaten
            if beaten is None or time.monotonic() - beaten < longest_block:
                # Its thread is in C, so it needs the interpreter as little as a parent does.
                faulthandler.dump_traceback_later(patience, exit=True, file=STANDARD_ERROR)
            time.sleep(HEARTBEAT_SECONDS)

    def answer(self) -> None:
        now = time.monotonic()
        beaten = self.beaten
        self.send((PONG, self.server.started, None if beaten is None else now - beaten))
        if self.since is None or not self.replaces or self.worn:
            return
        if self.lifetime is not None and now - self.since >= self.lifetime:
            self.ask_replacement(f"lifetime of {self.lifetime:.0f} s is over")
        limit = self.server.config.workers_max_rss
        if limit is not None and (size := resident_size()) > limit:
            self.ask_replacement(f"resident memory of {size} bytes exceeds {limit}", again_soon=False)

    def stop(self) -> None:
        """Stop as on SIGTERM, which ends the process if the server does not handle it yet."""
        if os.name == "posix":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.server.handle_exit(signal.SIGTERM, None)


def resident_size() -> int:
    """Return the resident memory of this process in bytes, or its peak where only that is known."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if platform.system() == "Darwin" else 1024)
