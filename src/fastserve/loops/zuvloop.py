"""`--loop zuvloop`."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable


def zuvloop_loop_factory(use_subprocess: bool = False) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the factory of zuvloop's loops. Raises ImportError where zuvloop is not installed."""
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("zuvloop").new_event_loop
    return factory
