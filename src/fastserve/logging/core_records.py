"""Where the compiled core's log records come from.

Compiled functions have no frames. If the core called a logger itself, records and handlers that look at the calling
frame would show the application's line that happens to be running.
"""

from __future__ import annotations

import logging
from typing import Any

general = logging.getLogger("fastserve.error")
access = logging.getLogger("fastserve.access")


def log_general(level: int, message: str, *args: Any, **more: Any) -> None:
    """Log to the general log, as Logger.log() does."""
    general.log(level, message, *args, **more)


def log_access(message: str, *args: Any, **more: Any) -> None:
    """Log to the access log, as Logger.info() does."""
    access.info(message, *args, **more)
