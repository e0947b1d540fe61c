"""`--loop uvloop`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def uvloop_loop_factory(use_subprocess: bool = False) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the factory of uvloop's loops. Raises ImportError where uvloop is not installed."""
    import uvloop

    return uvloop.new_event_loop
