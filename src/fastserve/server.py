"""One server: start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from fastserve import _version
from fastserve.config import STARTUP_FAILURE, Config, ConfigError
from fastserve.lifespan.off import LifespanOff
from fastserve.lifespan.on import LifespanOn
from fastserve.logging.formatters import style
from fastserve.logging.log_files import take_user_signal
from fastserve.loops import running
from fastserve.net.accepting import Acceptor
from fastserve.net.listeners import Listeners, PlainSockets
from fastserve.net.sockets import stop_listening
from fastserve.net.tls import TlsHandshake
from fastserve.options.core import AT_ONCE
from fastserve.process import signals
from fastserve.process.signals import HANDLED_SIGNALS
from fastserve.protocols.factory import connection_factory, redirect_factory
from fastserve.proxies import trust
from fastserve.server_state import ServerState
from fastserve.serving import by_loop, tracing
from fastserve.serving.drain import Drain
from fastserve.serving.life import Cause, Life, Phase
from fastserve.serving.metrics import ServerMetrics

if TYPE_CHECKING:
    from fastserve.process.pid_file import PidFile
    from fastserve.process.service_manager import Notifier
    from fastserve.proxies.protocol import Expected
    from fastserve.supervisors.link import Link

__all__ = ["HANDLED_SIGNALS", "Server", "ServerState"]

LONGEST_GOODBYE = 5.0  # seconds

logger = logging.getLogger("fastserve.error")


class Server:
    """A server of one application in one event loop: call run(), or await serve() in a running loop.

    `started` becomes true once it listens, on the sockets of `servers`. Setting `should_exit`, from any thread, stops
    it after the requests under way; setting `force_exit` as well stops it at once. Subclasses may override methods
    without an underscore, and should call what they override.
    """

    servers: list[asyncio.Server]
    lifespan: LifespanOn | LifespanOff

    def __init__(self, config: Config) -> None:
        self.config = config
        self.server_state = ServerState()
        self.servers = []
        self.last_notified = 0.0
        self._life = Life()
        self._captured_signals: list[int] = []
        self._postponed: list[int] | None = None  # signals that end the process after run()
        self._pid: int | None = None  # of the process that handles its signals
        self.link: Link | None = None  # to the parent process
        self.has_parent = False  # it runs in a process that one of ours has started, to watch over it
        self.plain_sockets: PlainSockets | None = None  # of those that serve() gets: which are without TLS
        self.notifier: Notifier | None = None  # of the service manager that started this process
        self._listeners = Listeners()
        self._pid_file: PidFile | None = None
        self._acceptor: Acceptor | None = None
        self._metrics = ServerMetrics(config)
        self._drained = False  # told that no more requests are wanted, and not to stop

    @property
    def started(self) -> bool:
        """Whether the server has begun to listen; still true after it has stopped."""
        return self._life.phase > Phase.STARTING

    @started.setter
    def started(self, started: bool) -> None:
        self._life.phase = max(self._life.phase, Phase.SERVING) if started else Phase.STARTING

    @property
    def should_exit(self) -> bool:
        """Whether the server has been told to stop; to be set from any thread."""
        return Phase.LINGERING in self._life.told

    @should_exit.setter
    def should_exit(self, told: bool) -> None:
        if told and not self.config.shutdown_green:
            self._redden()
        self._life.tell(Phase.LINGERING, told)

    def drain(self, drained: bool) -> None:
        """Have --health say whether requests are wanted, and go on serving; may be called from any thread."""
        self._drained = drained
        if drained:
            self._redden()
        elif not self.should_exit:
            self.server_state.red = False

    def _redden(self) -> None:
        """Have --health say that the server stops, unless another process has taken over."""
        if not self._retiring:
            self.server_state.red = True

    @property
    def force_exit(self) -> bool:
        """Whether the server stops without waiting; to be set from any thread, together with should_exit."""
        return Phase.STOPPED in self._life.told

    @force_exit.setter
    def force_exit(self, told: bool) -> None:
        self._life.tell(Phase.STOPPED, told)

    @functools.cached_property
    def limit_max_requests(self) -> int | None:
        """The number of requests after which the server stops, jitter included; None for no limit."""
        if self.config.limit_max_requests is None:
            return None
        import random

        return self.config.limit_max_requests + random.randint(0, self.config.limit_max_requests_jitter)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve in a new event loop until told to stop.

        Raises SystemExit(3) if the server cannot start, and KeyboardInterrupt after it was stopped by SIGINT. After
        SIGTERM it raises the SystemExit that ends the process, which the signal does once exit handlers have run.
        """
        factory = self.config.get_loop_factory()
        new_loop = None if factory is None else functools.partial(self.config.new_loop, factory)
        postponed: list[int] = []
        self._postponed = postponed
        try:
            running.run(lambda: self.serve(sockets=sockets), new_loop)
        except KeyboardInterrupt:
            if not postponed:
                raise
        finally:
            self._postponed = None
        if postponed:
            signals.leave(postponed[0])

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve in the running event loop until told to stop, by a signal if this is the main thread.

        Bound `sockets` are used in place of the configuration's address, and closed at the end. Raises as run() does.
        """
        with self.capture_signals():
            await self._serve(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop the server on SIGINT and SIGTERM; after the block, raise them again for the previous handlers."""
        self._pid = os.getpid()
        with signals.captured(self.handle_exit, self._captured_signals, self._postponed):
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal: stop after the requests under way, and at once on a second SIGINT.

        If the same signal comes again while the server lingers (shutdown_delay), it stops lingering. In a child forked
        by the application, the signal has its default action.
        """
        if self._pid not in (None, os.getpid()):
            signals.take_default_action(sig, frame)
            return
        self._captured_signals.append(sig)
        if not self.should_exit:
            self.should_exit = True
        elif self._lingers:
            # One stop may reach a worker twice: through its process group or cgroup, and from its parent, which counts.
            if self.link is None or self.link.orphaned or self._retiring:
                times = self._captured_signals.count(sig) + (self.link is not None and self._retiring)
                self.hasten(times, sig == signal.SIGINT)
        elif sig == signal.SIGINT:
            self.force_exit = True

    @property
    def goodbye_seconds(self) -> float:
        """How long a retiring server waits for a last request of idle clients."""
        return min(self.config.timeout_keep_alive or AT_ONCE, LONGEST_GOODBYE)

    @property
    def drain_seconds(self) -> float | None:
        """How long a stopping server waits for requests under way, None for any time."""
        return self.config.timeout_graceful_shutdown

    @property
    def _retiring(self) -> bool:
        return self._life.cause is Cause.REPLACED

    @property
    def _lingers(self) -> bool:
        return bool(self.config.shutdown_delay or self.config.shutdown_green or self._retiring)

    def retire(self) -> None:
        """Stop because another process has taken over; may be called from any thread."""
        self._life.cause = Cause.REPLACED
        self.should_exit = True

    def hasten(self, times: int, interrupted: bool) -> None:
        """Stop sooner: the server was told to stop `times` times, the last time by SIGINT if `interrupted`."""
        if times > 1:
            self._life.tell(Phase.DRAINING)
        if interrupted and times > 1 + self._lingers:
            self.force_exit = True

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        # Under fastserve.compat the program is not the user's to change, and uvicorn says nothing.
        if self.config.reload and not self.has_parent and _version.server_name == "Fastserve":
            logger.warning("Not watching for changes: reload needs fastserve.run() or the command.")
        if not self.has_parent and not self.config.may_have_siblings:
            trust.warn(self.config)
        if not self.config.loaded:
            self.config.load()
        self._enter(Phase.STARTING)
        self.lifespan = self.config.lifespan_class(self.config)
        self._log_process("Started server process [%d]")
        loop = asyncio.get_running_loop()
        with (
            self._life.within(loop),
            by_loop.noted(loop, self.config),
            tracing.following(loop, self.server_state),
            self._hangup_reloads(),
            self._user_signals_taken(),
        ):
            try:
                await self.startup(sockets=sockets)
                if self.started and not self.should_exit:
                    await self.main_loop()
                if self.started and self._lingers and (self._captured_signals or self._retiring):
                    await self._stay_green()
                    await self._linger()
            except asyncio.CancelledError:
                self._life.cause = Cause.CANCELLED
                raise
            finally:
                if self.started:
                    await self.shutdown(sockets=sockets)
                    self._enter(Phase.STOPPED)
                    self._log_process("Finished server process [%d]")
                self._metrics.stop()

    @contextlib.contextmanager
    def _hangup_reloads(self) -> Iterator[None]:
        """Reload certificates on SIGHUP; without TLS, SIGHUP ends the process as usual."""
        loop = asyncio.get_running_loop()

        def reload(sig: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.reload_certificates)

        with signals.hangup_handled(reload) if self.config.certificates is not None else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def _user_signals_taken(self) -> Iterator[None]:
        """Reopen log files on SIGUSR1; ignore SIGUSR2, which would end the process."""
        loop = asyncio.get_running_loop()

        def take(sig: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(take_user_signal, sig)  # not while a line is being logged

        with signals.user_signals_handled(take):
            yield

    def _enter(self, phase: Phase) -> None:
        self._life.phase = phase
        self._metrics.page.enter(phase)

    def _is_accepting(self) -> bool:
        return self._acceptor is not None and self._life.phase is Phase.SERVING and not self._acceptor.paused

    def _is_ready(self) -> bool:
        return self.started and not (self.should_exit or self._drained)

    def _listening(self) -> list[socket.socket]:
        return [] if self._acceptor is None else self._acceptor.sockets

    def _log_process(self, message: str) -> None:
        coloured = message.replace("%d", style("%d", fg="cyan"))
        number = os.getpid() if self.link is None else self.link.number
        logger.info(message, number, extra={"color_message": coloured})

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application's lifespan, then listen. Raises SystemExit(3) if either fails."""
        await self._start_topics()
        await self._life.unless_forced(self.lifespan.startup())
        await self._start_topics()  # the application may have imported them only now
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        if self._life.gives_up:
            return
        bound = sockets or []
        loop = asyncio.get_running_loop()
        try:
            if sockets is None:
                self._listeners = await Listeners.bind_in_loop(self.config, loop)
                bound = self._listeners.sockets
            if self.link is None and self.config.pid_file is not None:
                from fastserve.process.pid_file import PidFile

                self._pid_file = PidFile.written(self.config.pid_file)
            self._metrics.start(self._is_accepting)
            if not self.has_parent:
                self._metrics.show(self, self._is_ready, self._listening)
            self.server_state.renew_default_headers(self.config.encoded_headers, self.config.date_header)
            shared = self.config, self.server_state, self.lifespan.state, self._metrics.page
            factory = connection_factory(*shared)
            self.servers = []  # without those of an earlier run()
            self._acceptor = Acceptor(factory, self.config, self.servers, self.server_state, self._expected())
            plain = self._listeners.plain if sockets is None else self._plain_of_given(sockets)
            redirects = redirect_factory(*shared, bound, plain) if any(plain.values()) else None
            for index, sock in enumerate(bound):
                await self._acceptor.start(sock, index in plain, redirects if plain.get(index) else None)
        except OSError as exc:
            logger.error("%s", exc)
            self._close_listeners(bound)
            await self.lifespan.shutdown()
            self._close_state()
            sys.exit(STARTUP_FAILURE)
        if sockets is None:
            self._log_started_message(bound)
        self.started = True
        if self.link is not None:
            self.link.serving(loop)
        if self.notifier is not None:
            self.notifier.ready()

    async def _start_topics(self) -> None:
        """Start what carries topics, if the application uses them. Raises SystemExit(3) if that fails."""
        if self.config.topics is None and "fastserve.topics" not in sys.modules:
            return
        from fastserve.importer import ImportFromStringError
        from fastserve.topics import node
        from fastserve.topics.engine import Unsupported

        try:
            await node.serve(asyncio.get_running_loop())
        except (ImportFromStringError, Unsupported, OSError, ValueError) as exc:
            logger.error("topics: %s", exc)
            sys.exit(STARTUP_FAILURE)

    async def _stop_topics(self) -> None:
        if "fastserve.topics.node" in sys.modules:
            from fastserve.topics import node

            await self._life.unless_forced(node.stop(asyncio.get_running_loop()))

    def _plain_of_given(self, sockets: Sequence[socket.socket]) -> PlainSockets:
        """Return which of the sockets given to serve() have no TLS: by default those that the configuration bound so.

        Of sockets that another program has bound, as gunicorn does, the one at the address of ssl_redirect redirects.
        """
        plain = self.config.plain_sockets if self.plain_sockets is None else self.plain_sockets
        if self.config.ssl_redirect is not None and not any(plain.values()):
            from fastserve.net.redirect import redirecting

            found = redirecting(sockets, self.config.redirects)
            if not found:
                logger.warning("Nothing redirects to HTTPS: no socket is bound at %s.", self.config.ssl_redirect)
            plain = {**plain, **dict.fromkeys(found, True)}
        return plain

    @property
    def reloads_certificates(self) -> bool:
        return self.config.certificates is not None

    def reload_certificates(self) -> None:
        """Reload TLS certificates and keys for new connections. A failure is logged and changes nothing."""
        if self.config.certificates is None:
            return
        if self.notifier is not None:
            self.notifier.reloading()
        try:
            self.config.reload_certificates()
        except ConfigError as exc:
            logger.error("Certificate not reloaded, keeping the current one: %s", exc)
        else:
            self._metrics.note_certificates()
            count = len(self.config.certificates.in_use)
            if count == 1:
                logger.info("Certificate reloaded.")
            else:
                logger.info("%d certificates reloaded.", count)
        if self.notifier is not None:
            self.notifier.ready()

    def _expected(self) -> Expected | None:
        """Return what comes before TLS and HTTP on each connection, None for nothing."""
        if self.config.proxy_protocol == "off":
            return None
        from fastserve.proxies.protocol import Expected

        state = self.server_state
        return Expected(self.config, state.connections, state.worker if self.config.uses_core else None)

    def _log_started_message(self, listeners: Sequence[socket.socket]) -> None:
        self._listeners.log_running(self.config)

    async def main_loop(self) -> None:
        """Return once the server should stop."""
        counter = 0
        told = self.should_exit

        def told_since() -> bool:  # a subclass may go on all the same, and then each tick
            return self.should_exit and not told

        while not await self.on_tick(counter):
            if self._acceptor is not None:
                await self._acceptor.look()
            counter = (counter + 1) % 864000
            await self._life.tick(told_since)
            told = self.should_exit

    async def on_tick(self, counter: int) -> bool:
        """Do what is due ten times a second; return whether the server should stop. `counter` counts a day's calls."""
        await self._notify(counter)
        if self.should_exit:
            return True
        limit = self.limit_max_requests
        if limit is not None and self.server_state.total_requests >= limit:
            if self.link is not None and self.link.replaces:
                self.link.ask_replacement(f"maximum request limit of {limit} exceeded")
                return False  # until the replacement is ready
            logger.info("Maximum request limit of %d exceeded. Terminating process.", limit)
            return True
        return False

    async def _notify(self, counter: int) -> None:
        """Do what is due every second, and notify callback and service manager that the loop runs."""
        if counter % 10 == 0:
            self.server_state.renew_default_headers(self.config.encoded_headers, self.config.date_header)
            now = time.time()
            if self.config.callback_notify is not None and now - self.last_notified > self.config.timeout_notify:
                self.last_notified = now
                await self.config.callback_notify()
        if self.notifier is not None:
            self.notifier.watchdog()

    # The steps of a stop, in their order

    async def _stay_green(self) -> None:
        """Serve on with a healthy --health, for proxies that learn of the stop from others."""
        seconds = 0 if self._retiring else self.config.shutdown_green
        if not seconds or self._life.phase is Phase.LINGERING:
            return
        logger.info("Serving on for %s s before health is red. (CTRL+C to stop now)", seconds)
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        counter = 0
        while not self._impatient() and (left := end - clock()) > 0:
            await self._notify(counter)
            if self._acceptor is not None:
                await self._acceptor.look()
            counter += 1
            await self._life.tick(self._impatient, left)
        self._redden()

    async def _linger(self) -> None:
        """Keep serving for a while, each response the last of its connection, so that few clients find theirs closed.

        A retiring server accepts no new connections, and stops lingering when it has none left.
        """
        if self._life.phase is Phase.LINGERING or not (self.config.shutdown_delay or self._retiring):
            return
        self._enter(Phase.LINGERING)
        seconds = self.config.shutdown_delay
        if self._retiring:
            seconds = self.goodbye_seconds
            await self._stop_accepting()
            logger.debug("Retiring: each response is the last of its connection.")
        else:
            logger.info("Serving on for %s s. (CTRL+C to stop now)", seconds)
        self.server_state.announce_drain(self.goodbye_seconds)
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        counter = 0
        while not self._impatient() and clock() < end:
            # Not in the first round: accepted connections need a moment to get a protocol or begin their TLS handshake.
            busy = self.server_state.connections or TlsHandshake.underway.handshakes
            if self._retiring and counter and not busy:
                break
            await self._notify(counter)
            if self._acceptor is not None and not self._retiring:
                await self._acceptor.look()
            counter += 1
            await self._life.tick(self._impatient)

    def _impatient(self) -> bool:
        return Phase.DRAINING in self._life.told or self.force_exit

    async def _stop_accepting(self) -> None:
        loop = asyncio.get_running_loop()
        for server in self.servers:
            await stop_listening(server, loop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close listeners, drain connections, cancel what takes too long, then shut down the application's lifespan.

        Does nothing where serve() has done it, as it does when it is cancelled: its caller may call this all the same.
        """
        if self._life.phase is Phase.STOPPED:
            return
        self._enter(Phase.DRAINING)
        self._redden()
        logger.info("Shutting down")
        if self.notifier is not None:
            self.notifier.stopping()
        await self._take_waiting_connections()
        self._close_listeners(sockets or [])
        if self.link is not None:
            self.link.stopped_listening()
        await self._take_waiting_connections()
        patience, why = self.drain_seconds, "timeout graceful shutdown exceeded"
        if patience is None and self._life.cause is Cause.CANCELLED:
            patience = 0  # a caller that cancels serve() does not wait for the slowest client
            why = Cause.CANCELLED.value
        await Drain(self.server_state, self._life, self._wait_tasks_to_complete).run(patience, why, self._retiring)
        if self.link is not None:
            self.link.drained()
        await self._end_lifespan()
        await self._stop_topics()
        self._close_state()

    async def _take_waiting_connections(self) -> None:
        """Accept what waits in the kernel's queue, which would be reset, and give what is accepted its protocol."""
        if self._acceptor is not None and not self.force_exit:
            await self._acceptor.settle()

    def _close_listeners(self, sockets: Iterable[socket.socket]) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        for sock in sockets:
            sock.close()
        self._listeners.close()
        if self._pid_file is not None:
            self._pid_file.remove()

    async def _wait_tasks_to_complete(self) -> None:
        state = self.server_state
        if state.connections and not self.force_exit:
            logger.info("Waiting for connections to close. (CTRL+C to force quit)")
            await self._life.until(lambda: not state.connections)
        if state.tasks and not self.force_exit:
            logger.info("Waiting for background tasks to complete. (CTRL+C to force quit)")
            await self._life.until(lambda: not state.tasks)

    async def _end_lifespan(self) -> None:
        """Shut down the application's lifespan; if forced to exit, cancel the remaining requests instead."""
        if self.force_exit:
            self._cancel_tasks("Task cancelled, server forced to exit")
        else:
            await self._life.unless_forced(self.lifespan.shutdown())

    def _cancel_tasks(self, reason: str) -> None:
        for task in list(self.server_state.tasks):
            task.cancel(reason)

    def _close_state(self) -> None:
        if self.config.wsgi is not None:
            self.config.wsgi.close()
        self.server_state.close()
