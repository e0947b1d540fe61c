"""What a server measures of itself and, without a parent, shows at --metrics-bind and --control-socket."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastserve._core.metrics import SCALAR_CELLS, Metrics
from fastserve.config import Config
from fastserve.metrics.heartbeat import Heartbeat
from fastserve.metrics.pages import of_process, of_worker

if TYPE_CHECKING:
    from fastserve.metrics.service import Service
    from fastserve.operations.control import Control
    from fastserve.operations.own import Operated

ACCEPTING, CERTIFICATE_END = SCALAR_CELLS["accepting"], SCALAR_CELLS["certificate_end"]
WSGI_BUSY, WSGI_IDLE, WSGI_QUEUE = (SCALAR_CELLS[name] for name in ("wsgi_busy", "wsgi_idle", "wsgi_queue"))


class ServerMetrics:
    """The page of the worker as one server writes it, the heartbeat of its loop, and what shows them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._heartbeat: Heartbeat | None = None
        self._service: Service | None = None
        self._control: Control | None = None

    @property
    def page(self) -> Metrics:
        return of_worker()

    def start(self, is_accepting: Callable[[], bool]) -> None:
        """Begin to count, and the heartbeat."""
        self.page.begin(os.getpid(), int(time.time()))
        self.note_certificates()
        # Of workers that are threads, each is said to use what its loop uses: their sum is not more than the process's.
        busy = time.process_time_ns if self.page is of_process() else time.thread_time_ns
        self._heartbeat = Heartbeat(self.page, lambda: self._note_readings(is_accepting()), busy)
        self._heartbeat.start()

    def show(self, server: Operated, is_ready: Callable[[], bool], sockets: Callable[[], list[socket.socket]]) -> None:
        """Serve metrics and the control socket, if the options ask for them. Raises OSError."""
        if not (self.config.metrics_bind or self.config.control_socket):
            return
        from fastserve.metrics.service import Service
        from fastserve.metrics.source import OwnSource

        source = OwnSource(is_ready, sockets)
        self._service = Service.bound(self.config)
        if self.config.control_socket:
            from fastserve.operations.control import Control
            from fastserve.operations.own import OwnOrders

            self._control = Control.bound(self.config)
            if self._control is not None:
                self._control.start(source, OwnOrders(server, asyncio.get_running_loop()))
        if self._service is not None:
            self._service.start(source)

    def note_certificates(self) -> None:
        """Note when the first certificate expires."""
        if ends := self.config.certificate_ends:
            self.page.set(CERTIFICATE_END, max(int(min(ends)), 0))

    def _note_readings(self, accepting: bool) -> None:
        """Note what is read rather than counted."""
        page = self.page
        page.set(ACCEPTING, int(accepting))
        pool = None if self.config.wsgi is None else self.config.wsgi.threads
        if pool is not None:
            idle = pool.idle
            page.set(WSGI_IDLE, idle)
            page.set(WSGI_BUSY, max(len(pool) - idle, 0))
            page.set(WSGI_QUEUE, len(pool.calls))
        if "fastserve.topics.node" in sys.modules:
            from fastserve.topics.publishing import note_metrics

            note_metrics(page, None if page is of_process() else asyncio.get_running_loop())

    def stop(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None
        if self._service is not None:
            self._service.stop()
            self._service = None
        if self._control is not None:
            self._control.stop()
            self._control = None
