"""run(), and the names that programs know from uvicorn.main."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec

from fastserve.config import (
    INTERFACES,
    LIFESPAN,
    LOG_LEVELS,
    LOGGING_CONFIG,
    SSL_PROTOCOL_VERSION,
    STARTUP_FAILURE,
    Config,
    HTTPProtocolType,
    InterfaceType,
    LifespanType,
    LoopFactoryType,
    WSProtocolType,
)
from fastserve.importer import from_elsewhere
from fastserve.net.socket_activation import HANDOVER, activated
from fastserve.options import config_file
from fastserve.process import frozen, signals
from fastserve.process.service_manager import Notifier
from fastserve.server import Server
from fastserve.server_state import ServerState

if TYPE_CHECKING:
    import click

    from fastserve.process.handover import Handover

    main: click.Command

__all__ = [
    "INTERFACES",
    "LIFESPAN",
    "LOGGING_CONFIG",
    "LOG_LEVELS",
    "SSL_PROTOCOL_VERSION",
    "STARTUP_FAILURE",
    "Config",
    "HTTPProtocolType",
    "InterfaceType",
    "LifespanType",
    "LoopFactoryType",
    "Server",
    "ServerState",
    "WSProtocolType",
    "main",
    "run",
]

# What programs know from uvicorn.main and have here from another module.
ELSEWHERE = {
    "main": "fastserve.cli",
    "print_version": "fastserve.cli",
    "ChangeReload": "fastserve.supervisors",
    "Multiprocess": "fastserve.supervisors",
}
# What other programs' command lines know from uvicorn.main: click's choices, made when they are first used.
CHOICES: dict[str, Iterable[str]] = {
    "LEVEL_CHOICES": LOG_LEVELS,
    "LIFESPAN_CHOICES": LIFESPAN,
    "INTERFACE_CHOICES": INTERFACES,
}

P = ParamSpec("P")

logger = logging.getLogger("fastserve.error")


def arguments_of(source: Callable[P, object]) -> Callable[[Callable[..., None]], Callable[P, None]]:
    """Give a function the parameters of `source`, for type checkers and for inspect.signature."""

    def give(function: Callable[..., None]) -> Callable[P, None]:
        function.__wrapped__ = source  # type: ignore[attr-defined]
        return function

    return give


def open_standard_streams() -> None:
    """Open the null device where standard input, output or error is closed, for this process and its children.

    Otherwise a socket, or a worker's pipe to its parent, would get such a number and receive what is written there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


@arguments_of(Config)
def run(*args: Any, **options: Any) -> None:
    """Serve an application until told to stop; the arguments are those of Config.

    Raises SystemExit(3) if the server cannot start. Both signals let the requests under way finish first: SIGINT makes
    run() return, SIGTERM ends the process (by a SystemExit here, and by the signal itself after exit handlers). With
    workers or reload both make it return.
    """
    frozen.divert()
    open_standard_streams()
    undo = signals.handle_as_first_process()
    try:
        run_config(*args, **options)
    finally:
        undo()


def left_by_predecessor() -> Handover | None:
    """Return what the predecessor of this process has handed over, None without one."""
    if HANDOVER not in os.environ:
        return None
    from fastserve.process.handover import Handover

    return Handover.from_environment()


def run_config(*args: Any, **options: Any) -> None:
    config = Config(*args, **options)
    if name := config_file.in_use.get():
        logger.info("Options from %s", name)
    handover = left_by_predecessor()
    config.use_activated(activated() if handover is None else handover.activated)
    if not isinstance(config.app, str) and not config.use_threads:
        config.give_up_workers()
    if handover is not None and not config.use_workers:
        logger.error("Cannot take over from a server with workers: the options do not ask for workers.")
        sys.exit(STARTUP_FAILURE)
    if config.use_subprocess or config.use_threads:
        if not isinstance(config.app, str) and not config.use_threads:
            logger.warning("You must pass the application as an import string to enable 'reload' or 'workers'.")
            sys.exit(STARTUP_FAILURE)
        from fastserve.supervisors.supervise import supervise

        supervise(config, handover)
        return
    config.load_app()  # before there is an event loop: the application's module may start one of its own
    server = Server(config)
    server.notifier = Notifier.from_environment()
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def __getattr__(name: str) -> Any:
    if name in CHOICES:
        import click

        value = globals()[name] = click.Choice(list(CHOICES[name]))
        return value
    return from_elsewhere(__name__, ELSEWHERE, name)
