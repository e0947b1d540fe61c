"""Running a coroutine on a new event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]], loop_factory: LoopFactory | None) -> T:
    """Run `main()` on a new loop, close the loop, and return the result.

    None stands for the loop of asyncio's policy. As in asyncio.run, remaining tasks are cancelled and awaited.
    """
    if sys.version_info >= (3, 11):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main())
    loop = asyncio.new_event_loop() if loop_factory is None else loop_factory()
    try:
        if loop_factory is None:
            asyncio.set_event_loop(loop)
        return loop.run_until_complete(main())
    finally:
        try:
            loop.run_until_complete(cancel_all_tasks(loop))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            if loop_factory is None:
                asyncio.set_event_loop(None)
            loop.close()


async def cancel_all_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel all other tasks of the loop and await them; exceptions go to the loop's exception handler."""
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled() and task.exception() is not None:
            context = {"message": "exception in a task cancelled at the end", "exception": task.exception()}
            loop.call_exception_handler(context | {"task": task})
