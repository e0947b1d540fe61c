"""A start without serving: all that --check-config looks at."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastserve.config import Config
from fastserve.importer import ImportFromStringError
from fastserve.logging.log_config import ConfigError
from fastserve.net.socket_activation import activated
from fastserve.supervisors.preloading import python_threads, threads_error

LOADING = "Error loading "  # as uvicorn's lines of the log begin, which this command's begins with "Error: "


class Overheard(logging.Filter):
    """Keeps what the server would log, so that the last error can be told in a line."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            text = " ".join(record.getMessage().split())
            self.errors.append(f"cannot load {text.removeprefix(LOADING)}" if text.startswith(LOADING) else text)
        return False


def rehearse(app: str, given: Mapping[str, Any]) -> None:
    """Do what a start does up to the sockets: check options, read files, import the application, and bind nothing.

    Raises OptionError or ConfigError, whose text says in a line what keeps the server from starting.
    """
    overheard = Overheard()
    logger = logging.getLogger("fastserve.error")
    logger.addFilter(overheard)
    try:
        config = Config(app, **given)
        config.use_activated(activated())
        config.load()
        config.get_loop_factory()
        make_engine(config)
        if config.preload:
            names = python_threads()
            if names:
                raise ConfigError(threads_error(app, names))
    except SystemExit as exc:
        if overheard.errors:
            raise ConfigError(overheard.errors[-1]) from exc
        raise ConfigError(f"importing '{app}' ended the process with {exc.code!r}") from exc
    finally:
        logger.removeFilter(overheard)


def make_engine(config: Config) -> None:
    """Make what carries topics, and connect to nothing. Raises ConfigError."""
    if config.topics is None:
        return
    from fastserve.topics.engines import engine_for

    try:
        engine_for(config)
    except (ImportFromStringError, OSError, ValueError) as exc:
        raise ConfigError(f"topics: {exc}") from exc
