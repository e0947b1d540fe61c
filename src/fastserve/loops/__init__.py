"""Event loops: the factories that `--loop` names, and running a coroutine on a loop of one."""

from __future__ import annotations

from fastserve.loops.running import (
    LoopFactory,
    asyncio_loop_factory,
    auto_loop_factory,
    cancel_all_tasks,
    run,
    uvloop_loop_factory,
    zuvloop_loop_factory,
)

__all__ = [
    "LoopFactory",
    "asyncio_loop_factory",
    "auto_loop_factory",
    "cancel_all_tasks",
    "run",
    "uvloop_loop_factory",
    "zuvloop_loop_factory",
]
