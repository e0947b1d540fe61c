"""What the connections of --http h11 count, as the compiled core does for its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastserve._core.metrics import SCALAR_CELLS

if TYPE_CHECKING:
    from fastserve._core.metrics import Metrics

CLIENT_LEFT = 499  # the status of a request whose client has left before its response was complete


class Counting:
    """The metrics of one connection, whose uses are those of fastserve_connections."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.use: str | None = None
        self.why = "client"
        self.began: float | None = None  # when the head of a request that is not counted yet was complete
        self.key: tuple[str, str, bool] = ("GET", "1.1", False)

    def opened(self) -> None:
        self.metrics.add(SCALAR_CELLS["connections"])
        self.used("new")

    def used(self, use: str | None) -> None:
        """Count the connection among those of another use, None where it is there no more."""
        if self.use is not None:
            add(self.metrics, f"connections_{self.use}", -1)
        self.use = use
        if use is not None:
            add(self.metrics, f"connections_{use}", 1)

    def closing(self, why: str) -> None:
        """Note why the connection is going to be closed, unless that is known."""
        if self.why == "client":
            self.why = why

    def lost(self) -> None:
        if self.use is not None:
            self.used(None)
            self.metrics.add(SCALAR_CELLS[f"closed_{self.why}"])

    def handed_over(self) -> None:
        """Another protocol serves the connection."""
        self.used(None)
        self.began = None

    def received(self, size: int) -> None:
        self.metrics.add(SCALAR_CELLS["received"], size)

    def sent(self, size: int) -> None:
        self.metrics.add(SCALAR_CELLS["sent"], size)

    def begin(self, method: str, version: str, encrypted: bool) -> None:
        """Note the end of a request's head."""
        self.began = time.monotonic()
        self.key = (method, version, encrypted)
        self.used("active")

    def called(self, began: float | None) -> None:
        """The application is called for the request that began then."""
        add(self.metrics, "active", 1)
        if began is not None:
            self.metrics.observe(SCALAR_CELLS["wait"], time.monotonic() - began)

    def returned(self) -> None:
        add(self.metrics, "active", -1)

    def failed(self, stage: str) -> None:
        self.metrics.add(SCALAR_CELLS[f"failed_{stage}"])

    def refused(self, status: int, text: str) -> None:
        self.metrics.refused(status, text)

    def end(self, status: int, scope: dict[str, Any] | None) -> None:
        """Count the request, unless it is counted: its response ends here, with this status."""
        if self.began is not None:
            began, self.began = self.began, None
            self.metrics.request(self.key[0], status, self.key[1], self.key[2], time.monotonic() - began, scope)


def add(metrics: Metrics, name: str, more: int) -> None:
    cell = SCALAR_CELLS[name]
    metrics.set(cell, max(metrics.get(cell) + more, 0))
