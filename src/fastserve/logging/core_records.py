"""Where the compiled core's log records come from.

Compiled functions have no frames. If the core called a logger itself, records and handlers that look at the calling
frame would show the application's line that happens to be running.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

general = logging.getLogger("fastserve.error")


def log_general(level: int, message: str, *args: Any, **more: Any) -> None:
    """Log to the general log, as Logger.log() does."""
    general.log(level, message, *args, **more)


def emitter(logger: logging.Logger) -> Callable[..., None]:
    """Return what logs to this logger of an access log, as Logger.info() does."""

    def emit(message: str, *args: Any, **more: Any) -> None:
        logger.info(message, *args, **more)

    return emit
