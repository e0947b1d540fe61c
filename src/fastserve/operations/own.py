"""Orders to a process that serves by itself, without a parent."""

from __future__ import annotations

import asyncio
import os
from multiprocessing import Pipe
from threading import Lock
from typing import Any, Protocol

from fastserve.logging import log_files
from fastserve.logging.log_levels import set_level
from fastserve.operations.orders import Order, Orders, Refused
from fastserve.operations.reports import requests_of
from fastserve.operations.verbs import Asked

WITHOUT_WORKERS = "there are no workers: it needs --workers"


class Operated(Protocol):
    """What the orders ask of the server."""

    should_exit: bool
    force_exit: bool

    @property
    def reloads_certificates(self) -> bool: ...

    def reload_certificates(self) -> Any: ...

    def drain(self, drained: bool) -> None: ...


class OwnOrders(Orders):
    """Carries orders out in the loop of a server; what is to be seen while the loop hangs, in the asking thread."""

    def __init__(self, server: Operated, loop: asyncio.AbstractEventLoop) -> None:
        from fastserve.supervisors import hang_report

        self.server = server
        self.loop = loop
        self.reporting = Lock()
        self.reader, self.writer = Pipe(duplex=False)
        os.set_blocking(self.writer.fileno(), False)  # the thread that writes the report reads it
        hang_report.enable(self.writer)

    @property
    def is_stopping(self) -> bool:
        return self.server.should_exit

    def submit(self, order: Order) -> None:
        if order.asked.verb.word in ("requests", "stacks"):
            order.carry_out(self.obey)
            return
        try:
            self.loop.call_soon_threadsafe(order.carry_out, self.obey)
        except RuntimeError:
            raise Refused(503, "the server has stopped") from None

    def order_reload(self, asked: Asked) -> Any:
        if not self.server.reloads_certificates:
            raise Refused(409, "there is nothing to reload: it needs --workers, --reload or TLS")
        self.server.reload_certificates()
        return {"reloaded": "certificate"}

    def order_reopen(self, asked: Asked) -> Any:
        return {"reopened": log_files.reopen()}

    def order_drain(self, asked: Asked) -> Any:
        self.server.drain(True)
        return {"draining": True}

    def order_undrain(self, asked: Asked) -> Any:
        self.server.drain(False)
        return {"draining": False}

    def order_stop(self, asked: Asked) -> Any:
        self.server.should_exit = True
        if asked.value == "quick":
            self.server.force_exit = True
        return {"stopping": asked.value}

    def order_scale(self, asked: Asked) -> Any:
        raise Refused(409, WITHOUT_WORKERS)

    def order_replace(self, asked: Asked) -> Any:
        raise Refused(409, WITHOUT_WORKERS)

    def order_log_level(self, asked: Asked) -> Any:
        assert asked.value is not None
        set_level(asked.value)
        return {"level": asked.value}

    def order_requests(self, asked: Asked) -> Any:
        return requests_of(self.report(asked))

    def order_stacks(self, asked: Asked) -> Any:
        return self.report(asked)

    def report(self, asked: Asked) -> str:
        from fastserve.supervisors import hang_report

        if asked.worker:
            raise Refused(404, f"there is no worker {asked.worker}")
        with self.reporting:
            return hang_report.of_this_process(self.reader)
