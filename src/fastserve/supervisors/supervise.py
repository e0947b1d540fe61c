"""Serving from child processes: run() with workers or reload."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastserve.config import STARTUP_FAILURE, Config
from fastserve.net.address import Bind
from fastserve.net.listeners import Listeners
from fastserve.process.handover import Handover
from fastserve.process.pid_file import PidFile
from fastserve.process.service_manager import Notifier
from fastserve.proxies import trust
from fastserve.supervisors.successor import Estate, Takeover, working_directory

if TYPE_CHECKING:
    import socket

    from fastserve.metrics.service import Service
    from fastserve.operations.control import Control
    from fastserve.supervisors.multiprocess import Multiprocess

UNGUARDED = (
    "A child process imports the program, which calls run() again: with workers or reload, put the call under"
    " if __name__ == '__main__':"
)

logger = logging.getLogger("fastserve.error")


def supervise(config: Config, handover: Handover | None = None) -> None:
    """Bind and run server processes until told to stop. Raises SystemExit(3) if they cannot start.

    With a `handover`, this process replaces another one, whose sockets it takes.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        logger.error(UNGUARDED)
        sys.exit(STARTUP_FAILURE)
    trust.warn(config)
    with contextlib.ExitStack() as longer, contextlib.ExitStack() as stack:
        try:
            directory = working_directory()
            listeners = Listeners.bind(config, None if handover is None else handover.take_binds(config.places))
            stack.callback(listeners.close)
            metrics = bound_metrics(config, handover)
            control = bound_control(config, handover)
            if control is not None:
                longer.callback(control.stop)
            if config.pid_file is not None and handover is None:
                stack.callback(PidFile.written(config.pid_file).remove)
            listeners.listen(config.backlog)  # clients that connect once it is logged wait for the first worker
        except OSError as exc:
            logger.error("%s", exc)
            sys.exit(STARTUP_FAILURE)
        listeners.log_running(config)
        if config.reload:
            reload(config, listeners, stack.close, metrics, control)
        else:
            work(config, Estate(listeners, metrics, control, directory), stack, handover)


def bound_metrics(config: Config, handover: Handover | None) -> Service | None:
    binds = [Bind.parse(text) for text in config.metrics_bind or ()]
    inherited = {} if handover is None else handover.take_metrics(binds)
    if not binds:
        return None
    from fastserve.metrics.service import Service

    return Service.bound(config, inherited)


def bound_control(config: Config, handover: Handover | None) -> Control | None:
    inherited = None if handover is None else handover.take_control(config.control_socket is not None)
    if config.control_socket is None:
        return None
    from fastserve.operations.control import Control

    return Control.bound(config, inherited)


def parent_of_workers(config: Config, sockets: list[socket.socket]) -> Multiprocess:
    if config.use_threads:
        from fastserve.supervisors.multithread import Multithread

        return Multithread(config, sockets)
    from fastserve.supervisors.multiprocess import Multiprocess

    return Multiprocess(config, sockets)


def work(config: Config, estate: Estate, stack: contextlib.ExitStack, handover: Handover | None) -> None:
    if handover is not None:
        config.join_family(handover.family)
    parent = parent_of_workers(config, estate.listeners.sockets)
    parent.plain_sockets = estate.listeners.plain
    parent.close_listeners = stack.close
    parent.estate = estate
    if handover is None:
        parent.metrics = estate.metrics
        parent.control = estate.control
        parent.notifier = Notifier.from_environment()
    else:
        parent.takeover = Takeover(handover, estate, stack)
    with contextlib.suppress(KeyboardInterrupt):
        parent.run()
    if parent.startup_failed:
        sys.exit(STARTUP_FAILURE)


def reload(
    config: Config,
    listeners: Listeners,
    close: Callable[[], None],
    metrics: Service | None,
    control: Control | None,
) -> None:
    from fastserve.server import Server
    from fastserve.supervisors import ChangeReload

    server = Server(config)
    server.plain_sockets = listeners.plain
    parent = ChangeReload(config, server.run, listeners.sockets)
    parent.close_listeners = close
    parent.metrics = metrics
    parent.control = control
    parent.notifier = Notifier.from_environment()
    with contextlib.suppress(KeyboardInterrupt):
        parent.run()
