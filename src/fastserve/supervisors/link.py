"""The worker's side of its connection with the parent: a thread that answers while the interpreter can run at all."""

from __future__ import annotations

import faulthandler
import logging
import os
import platform
import random
import signal
import threading
import time
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from fastserve.logging import log_files
from fastserve.supervisors.messages import CLOSED, HASTEN, PING, PONG, READY, REOPEN, RETIRE, WORN

if TYPE_CHECKING:
    import asyncio

    from fastserve.options.table import Options

HEARTBEAT_SECONDS = 0.25  # between two beats of the event loop
ORPHAN_SECONDS = 30.0  # for a blocked event loop to go on, where no parent is there to kill it and no option says it
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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None: ...


class Link:
    """Answers the parent, asks it for a replacement, and stops the server when the parent is gone.

    `replaces` says whether the parent starts another process when asked to.
    """

    def __init__(self, connection: Connection, replaces: bool) -> None:
        self.connection = connection
        self.replaces = replaces
        self.server: LinkedServer
        self.loop: asyncio.AbstractEventLoop | None = None
        self.lifetime: float | None = None
        self.since: float | None = None  # when it began to serve
        self.beaten: float | None = None  # when the loop last ran, while it is to run
        self.worn = False
        self.orphaned = False  # the parent is gone
        self.sending = threading.Lock()

    def attach(self, server: LinkedServer) -> None:
        """Speak for a server, from here on."""
        self.server = server
        server.link = self
        config = server.config
        if config.workers_lifetime is not None:
            self.lifetime = config.workers_lifetime + random.uniform(0, config.workers_lifetime_jitter)
        threading.Thread(target=self.listen, name="fastserve link", daemon=True).start()

    # What the server says

    def serving(self, loop: asyncio.AbstractEventLoop) -> None:
        """The server listens."""
        self.loop = loop
        self.since = time.monotonic()
        self.beat()
        self.send((READY,))

    def beat(self) -> None:
        if self.loop is not None:
            self.beaten = time.monotonic()
            self.loop.call_later(HEARTBEAT_SECONDS, self.beat)

    def stopped_listening(self) -> None:
        """The server has closed its listening sockets."""
        self.send((CLOSED,))

    def drained(self) -> None:
        """All requests are done; how long the application takes to end is its own affair."""
        self.loop = self.beaten = None

    def ask_replacement(self, reason: str, again_soon: bool = True) -> None:
        """Ask the parent for another worker in the place of this one, which serves on until it is told to retire.

        `again_soon` says that the next worker may be worn as soon as this one was, and replaced as soon.
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

    # What the parent says

    def listen(self) -> None:
        """Do what the parent says until it is gone."""
        while True:
            try:
                kind, *arguments = self.connection.recv()
            except (EOFError, OSError):
                break
            if kind == PING:
                self.answer()
            elif kind == HASTEN:
                self.server.hasten(*arguments)
            elif kind == REOPEN:
                self.reopen()
            elif kind == RETIRE:
                self.server.retire()
        self.orphaned = True
        if not self.server.should_exit:
            logger.warning("The parent process is gone: stopping.")
            self.stop()
        self.watch_itself()

    def reopen(self) -> None:
        """Open log files again; the parent has said already why, and where there are none."""
        count = log_files.reopen()
        if count:
            logger.info("%d log file(s) opened again.", count)

    def watch_itself(self) -> None:
        """End the process, with the stacks of its threads on standard error, if it hangs where no parent kills it."""
        patience = self.server.config.timeout_worker_healthcheck
        longest_block = self.server.config.timeout_worker_blocked or max(patience, ORPHAN_SECONDS)
        while True:
            beaten = self.beaten
            if beaten is None or time.monotonic() - beaten < longest_block:
                # Its thread is made of C: it waits for the interpreter no more than a parent does.
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
        """Stop as by SIGTERM; before the server handles it, it ends the process."""
        if os.name == "posix":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.server.handle_exit(signal.SIGTERM, None)


def resident_size() -> int:
    """Return the bytes of memory that this process occupies; where that is not known, the most that it ever did."""
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
