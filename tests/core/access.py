"""A worker with an access log, for tests of its lines."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

from fakes.worker import FakeWorker, hello

from fastserve._core.http.access_format import AccessFormat
from fastserve._core.http.access_log import AccessLog
from fastserve.logging.access_format import compiled
from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter

Work = Callable[..., FakeWorker]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Log:
    """A worker with an access log, whose lines it gives."""

    def __init__(self, work: Work, name: str) -> None:
        self.work = work
        self.stream = io.StringIO()
        self.logger = logging.getLogger(name)
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)
        self.slow: list[tuple[bool, int]] = []

    def wire(
        self, form: str | AccessFormat, app: Any = None, skip: Any = (), sample: float = 1, **settings: Any
    ) -> FakeWorker:
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(AccessFormatter(ACCESS_FORMAT, use_colors=False))
        self.logger.handlers = [handler]  # pytest has added its own to a logger that does not propagate
        made = compiled(form) if isinstance(form, str) else form
        access = AccessLog(self.logger, AccessFormatter, ACCESS_FORMAT, made, skip, sample)
        slow = (lambda account: self.slow.append((account.over, account.status))) if "log_slow" in settings else None
        return self.work(app or hello(), access=access, slow=slow, **settings)

    def take(self) -> list[str]:
        """Return the lines since the last call."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        assert text == "" or text.endswith("\n")
        return text.splitlines()

    def one(self, form: str, request: bytes, app: Any = None, **settings: Any) -> str:
        """Return the line of a request."""
        self.wire(form, app, **settings).connect().feed(request)
        (line,) = self.take()
        return line
