"""The loggers of fastserve under uvicorn's names, with everything that the program has set or will set on them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

OURS, THEIRS = "fastserve", "uvicorn"


def renamed(name: Any) -> Any:
    """Return uvicorn's name for a logger of fastserve, any other name unchanged."""
    top, dot, rest = name.partition(".") if isinstance(name, str) else ("", "", "")
    return f"{THEIRS}{dot}{rest}" if top == OURS else name


class Names(dict[str, Any]):
    """The loggers of the process by name; a name of fastserve's means the same one of uvicorn's.

    Each is listed under one name only: logging.config disables the loggers listed here that a configuration leaves out.
    """

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(renamed(name))

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, logging.Logger):
            value.name = renamed(name)  # before logging looks for its parents and children by it
        super().__setitem__(renamed(name), value)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(renamed(name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(renamed(name))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the logger of that name, or `default`."""
        return super().get(renamed(name), default)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove and return the logger of that name."""
        return super().pop(renamed(name), *default)


def share() -> None:
    """Make each logger of fastserve the one with uvicorn's name. Call it once.

    Filters, handlers, level and propagation that were set on either are kept.
    """
    manager = logging.Logger.manager
    known: Mapping[str, Any] = manager.loggerDict
    ours = {name: logger for name, logger in known.items() if renamed(name) != name}
    manager.loggerDict = Names((name, logger) for name, logger in known.items() if name not in ours)
    manager.getLogger("uvicorn.error")  # which exists as soon as uvicorn is imported
    for name, logger in sorted(ours.items()):
        if isinstance(logger, logging.Logger):
            theirs = manager.getLogger(renamed(name))
            merge(logger, theirs)
            # Modules keep the loggers that they have got: from here on, what is set on one is set on both.
            logger.__dict__ = theirs.__dict__


def merge(source: logging.Logger, target: logging.Logger) -> None:
    """Add to `target` what was set on `source`; settings of `target` itself have precedence."""
    for each in source.filters:
        target.addFilter(each)
    for handler in source.handlers:
        target.addHandler(handler)
    if target.level == logging.NOTSET:
        target.setLevel(source.level)
    target.propagate = target.propagate and source.propagate
    target.disabled = target.disabled or source.disabled
