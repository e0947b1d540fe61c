"""Running a coroutine, under the names that programs know from uvicorn._compat."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from fastserve.application import is_coroutine_function as iscoroutinefunction
from fastserve.loops import running

__all__ = ["asyncio_run", "iscoroutinefunction"]

T = TypeVar("T")


def asyncio_run(
    main: Coroutine[Any, Any, T], *, debug: bool = False, loop_factory: running.LoopFactory | None = None
) -> T:
    """Run a coroutine on a new loop, as asyncio.run does from Python 3.12 on."""
    import asyncio

    async def run() -> T:
        if debug:
            asyncio.get_running_loop().set_debug(True)
        return await main

    return running.run(run, loop_factory)
