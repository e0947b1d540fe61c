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

SERVING: dict[asyncio.AbstractEventLoop, list[Options]] = {}


def options_of(loop: asyncio.AbstractEventLoop) -> Options | None:
    """Return the options of the server that runs in a loop; of several the first's."""
    found = SERVING.get(loop)
    return found[0] if found else None


@contextlib.contextmanager
def noted(loop: asyncio.AbstractEventLoop, options: Options) -> Iterator[None]:
    """List a server's options for the time of the block."""
    listed = SERVING.setdefault(loop, [])
    listed.append(options)
    try:
        yield
    finally:
        listed.remove(options)
        if not listed:
            del SERVING[loop]
