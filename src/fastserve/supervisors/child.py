"""Starting a child process, and what runs in it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any

from fastserve.metrics import pages
from fastserve.metrics.pages import Page
from fastserve.process import place as own_place
from fastserve.process.signals import Own, begin_end, leave_user_signals
from fastserve.supervisors.link import Link

if TYPE_CHECKING:
    import socket

    from fastserve.config import Config
    from fastserve.net.listeners import PlainSockets

multiprocessing.allow_connection_pickling()
spawn = multiprocessing.get_context("spawn")

# Signals sent to a whole process group. They are blocked while a process starts, until it can handle them.
GROUP_SIGNALS = "SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"
HELD = {getattr(signal, name) for name in GROUP_SIGNALS if hasattr(signal, name)}

Target = Callable[..., None]


def process(
    config: Config,
    target: Target | None,
    sockets: list[socket.socket],
    connection: Connection | None = None,
    dump: Connection | None = None,
    replaces: bool = False,
    plain: PlainSockets | None = None,
    page: Page | None = None,
    place: int | None = None,
) -> SpawnProcess:
    """Return a process, not started yet, that calls `target(sockets=sockets)`, by default Server.run.

    `connection` is its end of a pipe to the parent; it writes its hang report to `dump`. `plain` are the sockets
    without TLS, `page` is where it counts, and `place` is the number of a worker.
    """
    arguments = (config, target, sockets, connection, dump, replaces, standard_input(), plain, page, place)
    return spawn.Process(target=main, args=arguments)


def standard_input() -> int | None:
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def start(child: SpawnProcess) -> None:
    """Start a process with HELD signals blocked until main(). Raises ValueError if its arguments cannot be pickled."""
    with held_signals():
        try:
            child.start()
        except Exception as exc:
            if "pickle" not in str(exc).lower() and "pickl" not in type(exc).__name__.lower():
                raise
            raise ValueError(f"cannot send the configuration to another process: {exc}") from None


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Block HELD signals until the end of the block; processes started in it inherit this, and unblock them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        resource_tracker.ensure_running()  # it ignores SIGINT and SIGTERM; the others would end it
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)  # starting it has unblocked these two
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(
    config: Config,
    target: Target | None,
    sockets: list[socket.socket],
    connection: Connection | None,
    dump: Connection | None,
    replaces: bool,
    stdin: int | None,
    plain: PlainSockets | None = None,
    page: Page | None = None,
    place: int | None = None,
) -> None:
    """Serve in this process, just started by the parent."""
    if place is not None:
        take(place, config)
    if page is not None:
        pages.adopt(page)  # before the application is imported, which may have metrics of its own
    with contextlib.suppress(KeyboardInterrupt):  # the parent logs it
        prepare(config, stdin)
        work(config, target, sockets, connection, dump, replaces, plain)
    if connection is not None:
        begin_end(0)  # without a signal: exit handlers that block must not outlive the worker


def prepare(config: Config, stdin: int | None) -> None:
    """Prepare a process for importing the application."""
    handle_signals()
    if stdin is not None:
        with contextlib.suppress(OSError):
            sys.stdin = os.fdopen(stdin, closefd=False)
    config.configure_logging()


def work(
    config: Config,
    target: Target | None,
    sockets: list[socket.socket],
    connection: Connection | None,
    dump: Connection | None,
    replaces: bool,
    plain: PlainSockets | None,
) -> None:
    """Serve, with the arguments of main()."""
    for sock in sockets:
        sock.set_inheritable(False)
    if dump is not None:
        from fastserve.supervisors import hang_report

        hang_report.enable(dump)
    serve(config, target, sockets, None if connection is None else Link(connection, replaces), plain)


def take(place: int, config: Config) -> None:
    """Be the worker of a place among all."""
    own_place.take(place)
    if config.workers_affinity:
        pin(place)


def pin(place: int) -> None:
    """Pin this process to one of the processors that it may use, in turn by its place."""
    if sys.platform == "linux":  # elsewhere the option is refused
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {usable[place % len(usable)]})


def handle_signals() -> None:
    """Unblock signals: SIGTERM and SIGINT end this process; SIGHUP, SIGUSR1 and SIGUSR2 are left to the parent."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, Own(lambda number, frame: None))
    if hasattr(signal, "SIGBREAK"):
        signal.signal(signal.SIGBREAK, lambda number, frame: signal.raise_signal(signal.SIGTERM))
    leave_user_signals()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


def serve(
    config: Config,
    target: Target | None,
    sockets: list[socket.socket],
    link: Link | None,
    plain: PlainSockets | None,
) -> None:
    from fastserve.server import Server

    server: Any = getattr(target, "__self__", None)
    if target is None:
        server = Server(config)
        server.plain_sockets = plain
        target = server.run
    if isinstance(server, Server):
        server.has_parent = True
    if link is not None and isinstance(server, Server):
        link.attach(server)
        # Before there is an event loop: the application's module may run its own.
        server.config.load_app()
    target(sockets=sockets)
