"""What runs in a template process: it imports the application once, then forks workers and reports their ends.

The template has no event loop, no listening socket and one thread. What processes must not share is made anew in each
worker: the page of metrics, signal handlers, the state of random number generators that Python does not reseed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from multiprocessing import current_process
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from fastserve.config import STARTUP_FAILURE, Config
from fastserve.logging import log_files
from fastserve.metrics.pages import Page, adopt
from fastserve.process.signals import Own, begin_end, flush_standard_streams, leave_user_signals, put_back
from fastserve.supervisors import child
from fastserve.supervisors.messages import ENDED, FORK, FORKED, IMPORTED, REOPEN, RETIRE, UNFORKED

if TYPE_CHECKING:
    from fastserve.net.listeners import PlainSockets

PACKET_BYTES = 65536
MOST_DESCRIPTORS = 250  # Linux's SCM_MAX_FD is 253

NEEDED = "fastserve.server", "fastserve._core.worker", "fastserve._core.http.inflight"  # by every worker

logger = logging.getLogger("fastserve.error")


class Fork(NamedTuple):
    """What a worker is forked with."""

    place: int
    plain: PlainSockets | None
    connection: Connection
    dump: Connection
    sockets: list[socket.socket]


def main(config: Config, channel: socket.socket, stdin: int | None) -> None:
    """Import the application, and fork workers until the parent ends this process or is gone; serve in each child."""
    with contextlib.suppress(KeyboardInterrupt):  # the parent logs it
        child.prepare(config, stdin)
        try:
            load(config)
        except SystemExit as exc:
            leave(exc.code if isinstance(exc.code, int) else 1)  # sys.exit() would wait for threads
        warn_of_native_threads()
        # Garbage collections write to every object, which would copy the memory that the workers share.
        gc.collect()
        gc.freeze()
        worker = Forker(channel).next_worker()  # returns in children alone
        child.take(worker.place, config)
        child.work(config, None, worker.sockets, worker.connection, worker.dump, True, worker.plain)
    begin_end(0)  # as workers without a template do


def load(config: Config) -> None:
    """Import all that workers have in common. Raises SystemExit."""
    config.load()
    for name in NEEDED:
        importlib.import_module(name)
    config.get_loop_factory()
    names = python_threads()
    if names:
        logger.error(threads_error(config.app, names))
        sys.exit(STARTUP_FAILURE)


class Forker:
    """Forks workers at the parent's request, and reports their ends."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.children: set[int] = set()
        self.retired = False
        self.reader, self.writer = socket.socketpair()  # readable when a child may have ended
        for sock in (channel, self.reader, self.writer):
            sock.setblocking(False)
        self.handlers: dict[signal.Signals, Any] = {}  # of the application and of workers

    def next_worker(self) -> Fork:
        """Serve the parent; return in each child, which is a worker, what it was forked with."""
        self.take_signals()
        self.report(IMPORTED)
        while True:
            wait([self.channel, self.reader])
            with contextlib.suppress(BlockingIOError):
                self.reader.recv(4096)
            self.reap()
            worker = self.receive()
            if worker is not None:
                return worker
            if self.retired and not self.children:
                leave()

    def take_signals(self) -> None:
        """Ignore signals to the process group: the parent decides when the template ends."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.handlers[number] = signal.signal(number, signal.SIG_IGN)
        self.handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self.writer.fileno(), warn_on_full_buffer=False)

    def give_back_signals(self) -> None:
        """In a worker: install the handlers that it would have if it had imported the application itself."""
        signal.set_wakeup_fd(-1)
        # An Own one was the template's.
        handlers = self.handlers.items()
        put_back({number: Own(each.handler) if isinstance(each, Own) else each for number, each in handlers})
        leave_user_signals()  # the fork has given them their default action

    def report(self, *message: Any) -> None:
        with contextlib.suppress(OSError):  # receive() notices that the parent is gone
            self.channel.setblocking(True)
            self.channel.send(pickle.dumps(message))
        self.channel.setblocking(False)

    def reap(self) -> None:
        for pid in list(self.children):  # not waitpid(-1): the application may have children
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self.children.remove(pid)
                self.report(ENDED, pid, os.waitstatus_to_exitcode(status))

    def receive(self) -> Fork | None:
        """Handle the parent's requests; return in a forked worker what it was forked with."""
        while True:
            try:
                flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
                packet, descriptors, *_ = socket.recv_fds(self.channel, PACKET_BYTES, MOST_DESCRIPTORS, flags)
            except BlockingIOError:
                return None
            except OSError:
                packet, descriptors = b"", []
            if not packet:
                leave()  # the parent is gone, which the workers notice themselves
            kind, *details = pickle.loads(packet)
            if kind == FORK:
                number, place, plain, has_page = details
                worker = self.fork(number, place, plain, has_page, descriptors)
                if worker is not None:
                    return worker
            elif kind == REOPEN:
                log_files.reopen()
            elif kind == RETIRE:
                self.retired = True

    def fork(
        self, number: int, place: int, plain: PlainSockets | None, has_page: bool, descriptors: list[int]
    ) -> Fork | None:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        flush_standard_streams()  # else the worker would print again what the import has printed
        # A signal that reaches the child before it has its handlers would be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, child.HELD)
        try:
            pid = os.fork()
        except OSError as exc:
            self.report(UNFORKED, number, exc.errno)
            pid = -1
        if pid == 0:
            return self.made(place, plain, has_page, descriptors)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for descriptor in descriptors:
            os.close(descriptor)
        if pid > 0:
            self.children.add(pid)
            self.report(FORKED, number, pid)
        return None

    def made(self, place: int, plain: PlainSockets | None, has_page: bool, descriptors: list[int]) -> Fork:
        """In the worker, just forked: take its own descriptors, and close those of the template."""
        connection, dump, *rest = descriptors
        page = Page.of(rest.pop(0)) if has_page else None
        if page is not None:
            adopt(page)
        self.give_back_signals()
        for sock in (self.channel, self.reader, self.writer):
            sock.close()
        current_process().name = f"{current_process().name}:{os.getpid()}"
        seed_generators()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, child.HELD)
        return Fork(
            place,
            plain,
            Connection(connection),
            Connection(dump, readable=False),
            [socket.socket(fileno=descriptor) for descriptor in rest],
        )


def leave(code: int = 0) -> NoReturn:
    """End the template without the exit handlers of the application, which run in the workers."""
    flush_standard_streams()
    os._exit(code)


def seed_generators() -> None:
    """Reseed numpy's global generator, as Python does its own: else all workers would draw the same numbers."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def python_threads() -> list[str]:
    """Return the names of all threads that Python knows, except the caller's."""
    return [each.name for each in threading.enumerate() if each is not threading.current_thread()]


def threads_error(app: object, names: Iterable[str]) -> str:
    """Return the error text for an application whose import has started threads, which a fork does not copy."""
    return (
        f"--preload: importing '{app}' has started threads, which forked workers would not have:"
        f" {', '.join(sorted(names))}. Start them in the application's lifespan, or leave out --preload."
    )


def warn_of_native_threads() -> None:
    """Log threads that libraries have started outside Python: most of these libraries handle a fork, some do not."""
    try:
        tasks = [task for task in os.listdir("/proc/self/task") if int(task) != os.getpid()]  # noqa: PTH208
    except OSError:
        return
    names = set()
    for task in tasks:
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/comm", encoding="utf-8") as file:  # noqa: PTH123
            names.add(file.read().strip())
    if names:
        text = "--preload: libraries run %d thread(s) after the import, which workers will not have: %s"
        logger.warning(text, len(tasks), ", ".join(sorted(names)))
