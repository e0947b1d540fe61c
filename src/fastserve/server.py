"""One server: start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any

from fastserve import loops, signals, stacks
from fastserve.access import access_log
from fastserve.config import STARTUP_FAILURE, Config
from fastserve.lifespan import LifespanOff, LifespanOn
from fastserve.logs import style
from fastserve.server_state import ServerState
from fastserve.signals import HANDLED_SIGNALS
from fastserve.sockets import SocketFile, bind_in_loop, listen, log_running

__all__ = ["HANDLED_SIGNALS", "Server", "ServerState"]

TICK = 0.1  # seconds between two looks at should_exit, and the longest between two at what stopping waits for
SETTLE_SECONDS = 0.1  # for what has been told to end to be gone before there is anything to say about it
CANCEL_SECONDS = 1.0  # for cancelled requests to end before the application is told to shut down
STREAM_SECONDS = 3.0  # for responses without an end to go on at a stop that has no timeout
SHOWN_TASKS = 10  # of those that are cancelled

logger = logging.getLogger("fastserve.error")


class Server:
    """A server of one application in one event loop: run() it, or await serve() in a loop of one's own.

    `started` says that it listens, on the sockets of `servers`. Setting `should_exit`, from any thread, stops it after
    the requests that are under way; `force_exit` together with it stops it at once. Subclasses may override what has no
    underscore, and call what they override.
    """

    servers: list[asyncio.Server]
    lifespan: LifespanOn | LifespanOff

    def __init__(self, config: Config) -> None:
        self.config = config
        self.server_state = ServerState()
        self.servers = []
        self.started = False
        self.should_exit = False
        self.force_exit = False
        self.last_notified = 0.0
        self._captured_signals: list[int] = []
        self._socket_file: SocketFile | None = None
        self._cancelled = False

    @functools.cached_property
    def limit_max_requests(self) -> int | None:
        """The number of requests after which the server stops, with its jitter; None for no limit."""
        if self.config.limit_max_requests is None:
            return None
        return self.config.limit_max_requests + random.randint(0, self.config.limit_max_requests_jitter)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve in a new event loop until told to stop.

        Raises SystemExit(3) if the server cannot start, and KeyboardInterrupt after it was stopped by SIGINT.
        """
        loops.run(lambda: self.serve(sockets=sockets), self.config.get_loop_factory())

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve in the running event loop until told to stop, by a signal if this is the main thread.

        Bound `sockets` are used in place of the configuration's address, and closed at the end. Raises as run() does.
        """
        with self.capture_signals():
            await self._serve(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop the server on SIGINT and SIGTERM; at the end of the block raise them again for the handlers before."""
        with signals.captured(self.handle_exit, self._captured_signals):
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: stop after the requests that are under way, and at a second SIGINT at once."""
        self._captured_signals.append(sig)
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        else:
            self.should_exit = True

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        if not self.config.loaded:
            self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        self._log_process("Started server process [%d]")
        try:
            await self.startup(sockets=sockets)
            if self.started and not self.should_exit:
                await self.main_loop()
        except asyncio.CancelledError:
            self._cancelled = True
            raise
        finally:
            if self.started:
                await self.shutdown(sockets=sockets)
                self._log_process("Finished server process [%d]")

    def _log_process(self, message: str) -> None:
        coloured = message.replace("%d", style("%d", fg="cyan"))
        logger.info(message, os.getpid(), extra={"color_message": coloured})

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application's lifespan, then listen. Raises SystemExit(3) if either fails."""
        await self._unless_forced(self.lifespan.startup())
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        if self.force_exit:
            return
        bound = sockets or []
        try:
            if sockets is None:
                bound = await self._bind()
            factory = self._connection_factory()
            loop = asyncio.get_running_loop()
            for sock in bound:
                self.servers.append(await listen(sock, factory, self.config, loop))
        except OSError as exc:
            logger.error("%s", exc)
            self._close_listeners(bound)
            await self.lifespan.shutdown()
            self.server_state.close()
            sys.exit(STARTUP_FAILURE)
        if sockets is None:
            self._log_started_message(bound)
        self.started = True

    async def _bind(self) -> list[socket.socket]:
        bound = await bind_in_loop(self.config, asyncio.get_running_loop())
        if self.config.uds is not None and self.config.fd is None:
            self._socket_file = SocketFile(self.config.uds)
        return bound

    def _connection_factory(self) -> Callable[[], asyncio.Protocol]:
        config, loop = self.config, asyncio.get_running_loop()
        self.server_state.renew_default_headers(config)
        if not config.uses_core:
            # On uvicorn's protocol contract.
            contract: Any = config.http_protocol_class
            state, app_state = self.server_state, self.lifespan.state
            return lambda: contract(config=config, server_state=state, app_state=app_state, _loop=loop)
        from fastserve._core.worker import Worker

        worker = Worker(
            loop,
            config.loaded_app,
            config.core_settings(),
            state=self.lifespan.state,
            log=logger.log,
            access=access_log(config),
        )
        self.server_state.attach(worker)
        return functools.partial(config.http_protocol_class, worker)

    def _log_started_message(self, listeners: Sequence[socket.socket]) -> None:
        log_running(self.config, listeners[0])

    async def main_loop(self) -> None:
        """Return once the server should stop."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864000
            await asyncio.sleep(TICK)

    async def on_tick(self, counter: int) -> bool:
        """Do what is due ten times a second, and say whether the server should stop; `counter` counts a day's calls."""
        if counter % 10 == 0:
            self.server_state.renew_default_headers(self.config)
            now = time.time()
            if self.config.callback_notify is not None and now - self.last_notified > self.config.timeout_notify:
                self.last_notified = now
                await self.config.callback_notify()
        if self.should_exit:
            return True
        limit = self.limit_max_requests
        if limit is not None and self.server_state.total_requests >= limit:
            logger.info("Maximum request limit of %d exceeded. Terminating process.", limit)
            return True
        return False

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: close listeners, drain connections, cancel what takes too long, then end the application's lifespan."""
        logger.info("Shutting down")
        self._close_listeners(sockets or [])
        await self._drain()
        if self.force_exit:
            self._cancel_tasks("Task cancelled, server forced to exit")
        else:
            await self._unless_forced(self.lifespan.shutdown())
        self.server_state.close()

    def _close_listeners(self, sockets: Iterable[socket.socket]) -> None:
        for server in self.servers:
            server.close()
        for sock in sockets:
            sock.close()
        if self._socket_file is not None:
            self._socket_file.remove()

    async def _drain(self) -> None:
        """Let every connection finish what it is at, for timeout_graceful_shutdown at most."""
        state = self.server_state
        state.drain()
        # Idle connections are gone in no time, and nothing to talk or to time out about.
        await self._until(lambda: not state.connections, SETTLE_SECONDS)
        if not state.connections and not state.tasks:
            return
        patience = self.config.timeout_graceful_shutdown
        if self._cancelled and patience is None:
            patience = 0  # who cancels serve() does not wait for the slowest client
        waiting = asyncio.ensure_future(self._wait_tasks_to_complete())
        try:
            await asyncio.wait([waiting], timeout=STREAM_SECONDS if patience is None else patience)
            if not waiting.done() and not self.force_exit:
                streams = await self._end_streams()
                if patience is not None and state.tasks:
                    logger.error("Cancel %s running task(s), timeout graceful shutdown exceeded", len(state.tasks))
                    await self._cancel(state.tasks, "Task cancelled, timeout graceful shutdown exceeded")
                elif patience is None and streams:
                    logger.error("Cancel %s running task(s), their responses do not end", len(streams))
                    await self._cancel(streams, "Task cancelled, the server stops")
            if patience is None:
                await waiting
        finally:
            waiting.cancel()
        state.abort()
        await self._until(lambda: not state.connections, SETTLE_SECONDS)

    async def _end_streams(self) -> list[Any]:
        """Break off responses without an end of their own; return the tasks of applications that go on all the same.

        Such an application gets http.disconnect and an error from send(), and one that waits for its client to go gets
        http.disconnect as well.
        """
        tasks = self.server_state.end_streams()
        await self._until(lambda: not self.server_state.tasks, SETTLE_SECONDS)
        return [task for task in tasks if not task.done()]

    async def _cancel(self, tasks: Iterable[Any], reason: str) -> None:
        """Cancel tasks with a line on where each stood, and give them some time."""
        tasks = list(tasks)
        for task in tasks[:SHOWN_TASKS]:
            logger.error("Cancelled task %s was at:\n%s", task.get_name(), stacks.where(task))
        for task in tasks:
            task.cancel(reason)
        await self._until(lambda: all(task.done() for task in tasks), CANCEL_SECONDS)

    async def _wait_tasks_to_complete(self) -> None:
        state = self.server_state
        if state.connections and not self.force_exit:
            logger.info("Waiting for connections to close. (CTRL+C to force quit)")
            await self._until(lambda: not state.connections)
        if state.tasks and not self.force_exit:
            logger.info("Waiting for background tasks to complete. (CTRL+C to force quit)")
            await self._until(lambda: not state.tasks)

    def _cancel_tasks(self, reason: str) -> None:
        for task in list(self.server_state.tasks):
            task.cancel(reason)

    async def _until(self, done: Callable[[], bool], seconds: float = math.inf) -> None:
        """Return once `done()` is true, force_exit is set, or so many seconds have passed."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        pause = 0.001
        while not done() and not self.force_exit and clock() < end:
            await asyncio.sleep(pause)
            pause = min(2 * pause, TICK)

    async def _unless_forced(self, work: Coroutine[Any, Any, None]) -> None:
        """Await something that force_exit cancels."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done() and not self.force_exit:
                await asyncio.wait([task], timeout=TICK)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        if not task.cancelled():
            task.result()
