"""`--loop auto`: uvloop where it imports, else asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastserve.loops.asyncio import asyncio_loop_factory
from fastserve.loops.uvloop import uvloop_loop_factory


def auto_loop_factory(use_subprocess: bool = False) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's factory where it imports, else the standard library's."""
    try:
        return uvloop_loop_factory(use_subprocess)
    except ImportError:
        return asyncio_loop_factory(use_subprocess)
