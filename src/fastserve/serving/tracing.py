"""What a server logs at level TRACE beyond what its loggers filter, as that level comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import TYPE_CHECKING

from fastserve.logging import log_levels
from fastserve.logging.formatters import TRACE_LOG_LEVEL

if TYPE_CHECKING:
    from fastserve.server_state import ServerState

logger = logging.getLogger("fastserve.error")


def following(loop: asyncio.AbstractEventLoop, state: ServerState) -> contextlib.AbstractContextManager[None]:
    """For the time of the block, make connections of the core follow the level, from those on that are made then."""
    return log_levels.followed(functools.partial(loop.call_soon_threadsafe, follow, state))


def follow(state: ServerState) -> None:
    worker = state.worker
    if worker is None:
        return
    traces = logger.isEnabledFor(TRACE_LOG_LEVEL)
    worker.trace(traces)
    if worker.settings.trace:
        return  # its application has been wrapped at the start
    from fastserve.middleware.message_logger import MessageLoggerMiddleware

    if isinstance(worker.app, MessageLoggerMiddleware):
        if not traces:
            worker.app = worker.app.app
    elif traces:
        worker.app = MessageLoggerMiddleware(worker.app)
