"""The drain of a server that stops: its connections finish their requests, or are cut off after a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastserve.process import task_stacks
from fastserve.server_state import ServerState
from fastserve.serving.life import Life

SETTLE_SECONDS = 0.1  # allowed for what was told to end, before anything is logged about it
CANCEL_SECONDS = 1.0  # for cancelled requests to end before the application is told to shut down
STREAM_SECONDS = 3.0  # that responses without an end may go on during a stop without a timeout
SHOWN_TASKS = 10  # of those that are cancelled

logger = logging.getLogger("fastserve.error")


class Drain:
    """The connections and tasks of one server while it drains: run() takes the steps in their order.

    `wait()` returns when there are none left.
    """

    def __init__(self, state: ServerState, life: Life, wait: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.state = state
        self.life = life
        self.wait = wait

    async def run(self, patience: float | None, why: str, replaced: bool) -> None:
        """Let every connection finish its requests, for `patience` seconds at most; then cancel them, giving `why`.

        `replaced`: another process serves the same clients.
        """
        await self.close_idle_connections(replaced)
        if not self.state.connections and not self.state.tasks:
            return
        await self.finish_requests(patience, why)
        await self.abort_connections()

    async def close_idle_connections(self, replaced: bool) -> None:
        """Close idle connections, and give them a moment to go before anything is logged."""
        self.state.drain(replaced)
        await self.life.until(lambda: not self.state.connections, SETTLE_SECONDS)

    async def finish_requests(self, patience: float | None, why: str) -> None:
        """Wait up to `patience` seconds for requests, then end streams and cancel the rest, giving `why` as reason."""
        state = self.state
        grace = STREAM_SECONDS if patience is None else patience
        waiting = asyncio.ensure_future(self.wait())
        try:
            if grace > STREAM_SECONDS:
                await asyncio.wait([waiting], timeout=STREAM_SECONDS)
                await self._cancel_streams(state.orphans())
                grace -= STREAM_SECONDS
            await asyncio.wait([waiting], timeout=grace)
            if not waiting.done() and not self.life.is_forced:
                streams = await self._end_streams()
                if patience is not None and state.tasks:
                    logger.error("Cancel %s running task(s), %s", len(state.tasks), why)
                    await self._cancel(state.tasks, f"Task cancelled, {why}")
                elif patience is None:
                    await self._cancel_streams(streams)
            if patience is None:
                await waiting
        finally:
            waiting.cancel()

    async def _end_streams(self) -> list[Any]:
        """Break off responses that have no end; return the tasks of applications that still run after that.

        Such applications get http.disconnect, as do those that wait for their client to leave. Those whose client had
        left before are included.
        """
        tasks = self.state.orphans() + self.state.end_streams()
        await self.life.until(lambda: not self.state.tasks, SETTLE_SECONDS)
        return [task for task in tasks if not task.done()]

    async def _cancel_streams(self, tasks: list[Any]) -> None:
        if tasks and not self.life.is_forced:
            logger.error("Cancelling %s task(s) whose streaming responses have no end", len(tasks))
            await self._cancel(tasks, "Task cancelled, the server stops")

    async def _cancel(self, tasks: Iterable[Any], reason: str) -> None:
        """Cancel tasks, log where each stood, and give them CANCEL_SECONDS to end."""
        tasks = list(tasks)
        for task in tasks[:SHOWN_TASKS]:
            logger.error("Cancelled task %s was at:\n%s", task.get_name(), task_stacks.where(task))
        for task in tasks:
            task.cancel(reason)
        await self.life.until(lambda: all(task.done() for task in tasks), CANCEL_SECONDS)

    async def abort_connections(self) -> None:
        """Close the remaining connections, whatever they are doing."""
        self.state.abort()
        await self.life.until(lambda: not self.state.connections, SETTLE_SECONDS)
