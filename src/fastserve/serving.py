"""The configurations of the servers that run in this process, by their event loop.

It is for what an application imports and that follows the server's options, as fastserve.topics does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastserve.options.table import Options

SERVING: dict[asyncio.AbstractEventLoop, Options] = {}


@contextlib.contextmanager
def noted(loop: asyncio.AbstractEventLoop, options: Options) -> Iterator[None]:
    """List a server's options for the time of the block."""
    SERVING[loop] = options
    try:
        yield
    finally:
        del SERVING[loop]
