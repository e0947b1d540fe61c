"""The worker classes: gunicorn forks, binds, supervises and logs; a Server serves.

gunicorn's setting                           here
bind, backlog, umask, reuse_port             the arbiter passes open sockets; fastserve closes its copies
timeout                                      notify() from the event loop, so that a blocked one is noticed
graceful_timeout                             timeout_graceful_shutdown, a little less, so that the arbiter need not kill
keepalive, max_requests(_jitter)             timeout_keep_alive, limit_max_requests
forwarded_allow_ips                          the same
proxy_protocol, proxy_allow_ips              proxy_protocol, proxy_protocol_from
certfile, keyfile, ca_certs, cert_reqs,
ciphers, ssl_context                         ssl_*, ssl_context_factory
threads                                      wsgi_threads, if more than 1
limit_request_line, limit_request_fields     the same, if changed from their defaults
errorlog, loglevel, logconfig*, syslog       the handlers and the level of the logger `fastserve`
accesslog, access_log_format, logger_class   the arbiter's logger writes the access log (see access.py)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from fastserve._version import requirement
from fastserve.config import Config
from fastserve.loops import running
from fastserve.options.table import TABLE, OptionError
from fastserve.process.signals import flush_standard_streams, guard, take_default_action
from fastserve.server import Server
from fastserve.serving.life import TICK, Cause
from fastserve.workers.access import AccessLogMiddleware

try:
    from gunicorn.arbiter import Arbiter
    from gunicorn.errors import HaltServer
    from gunicorn.glogging import Logger
    from gunicorn.workers.base import Worker
except ImportError:
    raise ImportError(f"fastserve.workers needs gunicorn: install it, or {requirement('gunicorn')}.") from None

logger = logging.getLogger("fastserve.error")

NO_LIMIT = 2**31 - 1
LONGEST_BEAT = 1.0  # seconds between two heartbeats
# In a quick shutdown, the arbiter kills workers that have not ended after 2 seconds.
QUICK_SECONDS = 1.8


class WorkerConfig(Config):
    """The configuration of a gunicorn worker, whose application the arbiter's settings name."""

    def __init__(self, worker: FastserveWorker, **options: Any) -> None:
        self._worker = worker
        super().__init__(self.load_app, **options)

    @property
    def multiprocess(self) -> bool:
        """Whether the arbiter has more than one worker."""
        arbiters: int = self._worker.cfg.workers
        return arbiters > 1

    @property
    def may_have_siblings(self) -> bool:
        """Always: the arbiter starts more at a signal."""
        return True

    def load_app(self) -> Any:
        """Return the application that gunicorn has loaded."""
        return self._worker.wsgi

    def load(self) -> None:
        """Load as Config does, and let gunicorn's logger write the access log."""
        super().load()
        log = self._worker.log
        # A logger may count requests that it does not write (as the one for statsd does).
        if getattr(log, "access_log_enabled", True) or type(log).access is not Logger.access:
            self.loaded_app = AccessLogMiddleware(self.served_app, log)


class FastserveWorker(Worker):  # type: ignore[misc,unused-ignore]  # gunicorn has no types
    """A gunicorn worker for ASGI applications; CONFIG_KWARGS of a subclass override the options of Config."""

    CONFIG_KWARGS: dict[str, Any] = {"loop": "auto", "http": "auto"}  # noqa: RUF012  # as uvicorn's workers have it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            self.config = WorkerConfig(self, **{**self.config_kwargs(), **self.CONFIG_KWARGS})
        except OptionError as exc:
            raise HaltServer(f"{type(self).__name__}: {exc}", Arbiter.WORKER_BOOT_ERROR) from exc

    def config_kwargs(self) -> dict[str, Any]:
        """Return gunicorn's settings as options of Config."""
        cfg = self.cfg
        options: dict[str, Any] = {
            "log_config": None,
            "access_log": False,  # the arbiter's logger writes it
            "workers": 1,  # the arbiter's are not ours
            "timeout_keep_alive": cfg.keepalive,
            "timeout_graceful_shutdown": cfg.graceful_timeout - min(1.0, cfg.graceful_timeout / 2),
            "limit_max_requests": self.max_requests if self.max_requests <= NO_LIMIT else None,
            "backlog": cfg.backlog or TABLE["backlog"].default,
            "forwarded_allow_ips": cfg.forwarded_allow_ips,
        }
        if cfg.proxy_protocol not in (False, "off"):
            options["proxy_protocol"] = "auto" if cfg.proxy_protocol is True else cfg.proxy_protocol
            options["proxy_protocol_from"] = cfg.proxy_allow_ips
        if cfg.threads > 1:
            options["wsgi_threads"] = cfg.threads
        for name in ("limit_request_line", "limit_request_fields"):
            if getattr(cfg, name) != cfg.settings[name].default:
                options[name] = getattr(cfg, name) or NO_LIMIT
        return {**options, **self.ssl_kwargs()} if cfg.is_ssl else options

    def ssl_kwargs(self) -> dict[str, Any]:
        """Return gunicorn's TLS settings as options of Config."""
        cfg = self.cfg
        options: dict[str, Any] = {
            "ssl_keyfile": cfg.keyfile,
            "ssl_certfile": cfg.certfile,
            "ssl_cert_reqs": cfg.cert_reqs,
            "ssl_ca_certs": cfg.ca_certs,
            "ssl_ciphers": cfg.ciphers,
        }
        hook = cfg.settings.get("ssl_context")  # not in every version
        if hook is not None and hook.get() is not hook.default:
            options["ssl_context_factory"] = lambda config, default_factory: cfg.ssl_context(cfg, default_factory)
        return {name: value for name, value in options.items() if value is not None}

    def init_process(self) -> None:
        """Log to gunicorn's handlers, then initialise as gunicorn's workers do, which ends in run()."""
        for ours, theirs in (("fastserve", self.log.error_log), ("fastserve.access", self.log.access_log)):
            logger = logging.getLogger(ours)
            logger.handlers = theirs.handlers  # the same list, so that gunicorn's changes apply
            logger.setLevel(theirs.level)
            logger.propagate = False
        super().init_process()

    def init_signals(self) -> None:
        """Leave to the server the signals that it handles, and set the others as gunicorn's workers do."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        signal.signal(signal.SIGWINCH, self.handle_winch)
        signal.signal(signal.SIGABRT, self.handle_abort)
        signal.siginterrupt(signal.SIGUSR1, False)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """Log where the worker stands and end: the arbiter found it hanging."""
        where = "".join(traceback.format_stack(frame)).rstrip()
        self.log.critical("Aborting worker (pid:%s). It was at:\n%s", self.pid, where)
        self.cfg.worker_abort(self)
        flush_standard_streams()
        # Not by SystemExit, which the code that hangs might catch.
        os._exit(1)

    def run(self) -> None:
        """Serve until told to stop. Raises SystemExit with WORKER_BOOT_ERROR if the server cannot start."""
        self.config.load()
        running.run(self._serve, self.config.get_loop_factory())

    async def _serve(self) -> None:
        server = WorkerServer(self)
        heart = asyncio.ensure_future(self._beat())
        try:
            await server.serve(sockets=[getattr(sock, "sock", sock) for sock in self.sockets])
        finally:
            heart.cancel()
        if not server.started and not server.should_exit:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    async def _beat(self) -> None:
        # Independent of the server's ticks: it must also run while the application starts and connections drain.
        interval = min(self.timeout / 2, LONGEST_BEAT) or LONGEST_BEAT
        while True:
            await self.callback_notify()
            await asyncio.sleep(interval)

    async def callback_notify(self) -> None:
        """Tell the arbiter that the event loop runs."""
        self.notify()


class FastserveH11Worker(FastserveWorker):
    """A gunicorn worker with the Python implementation over h11, in asyncio's own event loop."""

    CONFIG_KWARGS: dict[str, Any] = {"loop": "asyncio", "http": "h11"}  # noqa: RUF012


class FastserveWSGIWorker(FastserveWorker):
    """A gunicorn worker for WSGI applications, with the threads of `--threads` if more than 1."""

    CONFIG_KWARGS: dict[str, Any] = {"interface": "wsgi"}  # noqa: RUF012


class WorkerServer(Server):
    """The server of a gunicorn worker, which also stops for the arbiter and gunicorn's reloader."""

    def __init__(self, worker: FastserveWorker) -> None:
        super().__init__(worker.config)
        self.worker = worker
        self._quick_end = math.inf  # of time.monotonic(): when a quick shutdown ends in any case
        self._lingered = 0.0  # seconds of graceful_timeout that idle clients have had for a last request

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM, SIGINT and SIGQUIT; afterwards run() returns, as the arbiter expects."""
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: self.handle_exit,
            signal.SIGINT: self.handle_quit,
            signal.SIGQUIT: self.handle_quit,
        }
        self._pid = os.getpid()
        for number, handler in handlers.items():
            guard(handler)
            signal.signal(number, handler)
        yield

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop without waiting for requests: gunicorn's quick shutdown. The lifespan's shutdown gets QUICK_SECONDS."""
        if self._pid != os.getpid():
            take_default_action(sig, frame)
            return
        if not self.force_exit:
            self._quick_end = time.monotonic() + QUICK_SECONDS
            self.worker.cfg.worker_int(self.worker)
        self.should_exit = self.force_exit = True

    @property
    def goodbye_seconds(self) -> float:
        """How long to wait for a last request of idle clients: only a part of graceful_timeout."""
        return min(super().goodbye_seconds, (self.config.timeout_graceful_shutdown or 0) / 2)

    @property
    def drain_seconds(self) -> float | None:
        """How long to wait for requests under way: for what is left of graceful_timeout."""
        return max((super().drain_seconds or 0) - self._lingered, 0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop as a worker that is replaced: the arbiter keeps listening, or starts another one.

        New clients are not refused, so connected ones must not find their connection closed either.
        """
        if not self.force_exit:
            clock = asyncio.get_running_loop().time
            begin = clock()
            self._life.cause = Cause.REPLACED
            await self._linger()
            self._lingered = clock() - begin
        await super().shutdown(sockets=sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; after a quick shutdown before listening, end the lifespan that has begun."""
        await super().startup(sockets=sockets)
        if not self.started and getattr(self.lifespan, "phase", "serving") == "serving":
            await self._end_lifespan()

    async def _end_lifespan(self) -> None:
        """End the application's lifespan, in a quick shutdown within the time left."""
        if self.force_exit:
            self._cancel_tasks("Task cancelled, server forced to exit")
        ending = asyncio.ensure_future(self.lifespan.shutdown())
        while not ending.done() and (left := self._quick_end - time.monotonic()) > 0:
            await asyncio.wait([ending], timeout=min(left, TICK))
        if not ending.done():
            logger.error("Cancelling application shutdown: a quick shutdown allows %s seconds", QUICK_SECONDS)
            ending.cancel()
            await asyncio.wait([ending])
        if not ending.cancelled():
            ending.result()

    async def on_tick(self, counter: int) -> bool:
        if not self.worker.alive:
            return True  # gunicorn's reloader has detected a change
        if self.worker.ppid != os.getppid():
            self.worker.log.info("Parent changed, shutting down: %s", self.worker)
            return True
        return await super().on_tick(counter)
