"""Metrics of prometheus_client, right over all workers: collect() puts their values into the process's page.

prometheus_client keeps values in objects of one class, which it asks for when a metric or a labelled child of one is
made. Here that class has a cell of the page. So the registry of each worker is merged as everything else is, once on
`/metrics`, without its directory of files.
"""

from __future__ import annotations

import threading
from typing import Any

from fastserve._core.metrics import SHAPE, OwnCell
from fastserve.metrics.own import Cells, nowhere, sample_of, tell
from fastserve.metrics.pages import MORE_CELLS

KINDS = {"counter": "c", "gauge": "g", "histogram": "h", "summary": "s"}
MERGES = {"max": ">", "livemax": ">", "min": "<", "livemin": "<"}  # of multiprocess_mode; otherwise the sum

_lock = threading.Lock()
_told: set[str] = set()
_cells = Cells(SHAPE["own_count"], SHAPE["own_count"] + MORE_CELLS)


class CellValue:
    """A value of prometheus_client in a cell of the page."""

    _multiprocess = False

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Any,
        labelvalues: Any,
        help_text: str = "",
        multiprocess_mode: str = "",
        **more: Any,
    ) -> None:
        kind = KINDS.get(typ, "g")
        if kind == "g":
            kind = MERGES.get(multiprocess_mode, "g")
        self._exemplar = None
        self._lock = threading.Lock()
        with _lock:
            if metric_name not in _told:
                _told.add(metric_name)
                tell(metric_name, help_text)
            labels = dict(zip(labelnames, map(str, labelvalues), strict=True))
            self._cell: OwnCell = _cells.take(kind, sample_of(name, labels)) or nowhere()

    def inc(self, amount: float) -> None:
        with self._lock:
            self._cell.add(amount)

    def set(self, value: float, timestamp: float | None = None) -> None:
        with self._lock:
            self._cell.set(value)

    def set_exemplar(self, exemplar: Any) -> None:
        with self._lock:
            self._exemplar = exemplar

    def get(self) -> float:
        with self._lock:
            return self._cell.get()

    def get_exemplar(self) -> Any:
        with self._lock:
            return self._exemplar


def collect(registry: Any = None) -> None:
    """Show the metrics of prometheus_client on the server's `/metrics`, summed over the workers.

    Call it before metrics are made, as the application is imported; those that `registry` (by default
    prometheus_client.REGISTRY) has already begin anew at 0. Gauges are summed over the workers that live, or by their
    multiprocess_mode the greatest or the least. Not shown: collectors of other kinds, such as those of the process, of
    which the server has its own, and Info and Enum.
    """
    import prometheus_client
    from prometheus_client import metrics, values

    values.ValueClass = CellValue
    known = prometheus_client.REGISTRY if registry is None else registry
    for each in list(known._collector_to_names):
        if isinstance(each, metrics.MetricWrapperBase) and each._type in KINDS:
            for metric in [*getattr(each, "_metrics", {}).values(), *([] if each._labelnames else [each])]:
                metric._metric_init()
