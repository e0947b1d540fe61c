"""Metrics of the application's own: cells of the process's page, which the parent merges by name over all workers."""

from __future__ import annotations

import bisect
import logging
import re
import threading

from fastserve._core.metrics import BOUNDS, SHAPE, OwnCell
from fastserve.metrics.pages import of_process

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*\Z")
RESERVED = ("fastserve_", "http_server_", "process_")  # what names of the server's begin with
MERGES = {"sum": "g", "max": ">", "min": "<"}
PARTS = ("_bucket", "_sum", "_count")  # what names of a histogram's samples end with
INFINITY = float("inf")
OWN_COUNT = SHAPE["own_count"]
CELL_BYTES = SHAPE["own_name"] * 8

logger = logging.getLogger("fastserve.error")


class Counter:
    """A value that only grows."""

    def __init__(self, cell: OwnCell) -> None:
        self._cell = cell

    def add(self, amount: float = 1) -> None:
        """Add to it. Raises ValueError for an amount that is negative or not a number."""
        if not 0 <= amount < INFINITY:
            raise ValueError(f"a counter only grows: {amount!r}")
        self._cell.add(amount)


class Gauge:
    """A value that goes up and down."""

    def __init__(self, cell: OwnCell) -> None:
        self._cell = cell

    def set(self, value: float) -> None:
        self._cell.set(value)

    def add(self, amount: float = 1) -> None:
        self._cell.add(amount)


class Histogram:
    """A distribution of values."""

    def __init__(self, bounds: tuple[float, ...], buckets: list[OwnCell], total: OwnCell) -> None:
        self._bounds = bounds
        self._buckets = buckets
        self._total = total

    def observe(self, value: float) -> None:
        """Count a value. Raises ValueError for one that is not a number, which the sum would never get rid of."""
        if not -INFINITY < value < INFINITY:
            raise ValueError(f"a histogram counts numbers: {value!r}")
        self._buckets[bisect.bisect_left(self._bounds, value)].add(1)
        self._total.add(value)


class Cells:
    """The cells that are taken of this process's page, from `next` to `end`."""

    def __init__(self, first: int, end: int) -> None:
        self.next = first
        self.end = end
        self.full = False

    def take(self, kind: str, sample: str) -> OwnCell | None:
        """Return a cell for a sample, None if there is no room. A long name takes several."""
        pieces = pieces_of(kind + sample)
        if self.next + len(pieces) > self.end:
            if not self.full:
                self.full = True
                logger.warning(
                    "No room for more metrics of the application's own: %s and others are not shown.", sample
                )
            return None
        first, self.next = self.next, self.next + len(pieces)
        for number in range(first + len(pieces) - 1, first, -1):
            OwnCell(of_process(), number, b"+" + pieces[number - first])
        return OwnCell(of_process(), first, pieces[0])


def pieces_of(name: str) -> list[bytes]:
    """Return a name in pieces that fit a cell, the later ones with a byte of room, each of whole characters."""
    pieces, piece = [], b""
    for each in name:
        encoded = each.encode("utf-8", "replace")
        if len(piece) + len(encoded) > CELL_BYTES - 1:
            pieces.append(piece)
            piece = b""
        piece += encoded
    return [*pieces, piece]


_lock = threading.RLock()
_kinds: dict[str, str] = {}  # of each name
_owners: dict[str, str] = {}  # the metric of each name that /metrics has: those of samples, and of what they belong to
_made: dict[tuple[str, tuple[tuple[str, str], ...]], Counter | Gauge | Histogram] = {}
_samples: dict[str, Counter | Gauge | Histogram] = {}  # by name and labels, in whatever order they were given
_cells = Cells(0, OWN_COUNT)


def counter(name: str, help: str = "", /, **labels: str) -> Counter:  # noqa: A002
    """Return the counter of this name and these labels; it is made by the first call, with its help.

    Its value on /metrics is the sum over all workers, also of those that have ended. `_total` is added to a name that
    has none. Raises ValueError for an invalid name or label, and if the name is that of another kind of metric.
    """
    name = name if name.endswith("_total") else f"{name}_total"
    found = _made.get((name, tuple(labels.items())))
    if type(found) is not Counter:
        found = _make("c", name, help, labels)
    assert isinstance(found, Counter)
    return found


def gauge(name: str, help: str = "", /, merge: str = "sum", **labels: str) -> Gauge:  # noqa: A002
    """Return the gauge of this name and these labels. Its value on /metrics is the sum over the workers that live.

    With `merge="max"` or `"min"` it is the greatest or the least. Raises ValueError as counter() does.
    """
    if merge not in MERGES:
        raise ValueError(f"merge: expected one of {', '.join(MERGES)}, not {merge!r}")
    found = _made.get((name, tuple(labels.items())))
    if type(found) is not Gauge or _kinds[name] != MERGES[merge]:
        found = _make(MERGES[merge], name, help, labels)
    assert isinstance(found, Gauge)
    return found


def histogram(
    name: str,
    help: str = "",  # noqa: A002
    /,
    buckets: tuple[float, ...] = BOUNDS,
    **labels: str,
) -> Histogram:
    """Return the histogram of this name and these labels; `buckets` are upper bounds, in ascending order.

    It takes a cell for each bucket and two more, of which a worker has 256. Raises ValueError as counter() does.
    """
    found = _made.get((name, tuple(labels.items())))
    if type(found) is not Histogram:
        found = _make("h", name, help, labels, tuple(buckets))
    assert isinstance(found, Histogram)
    return found


def _make(
    kind: str, name: str, text: str, labels: dict[str, str], bounds: tuple[float, ...] = ()
) -> Counter | Gauge | Histogram:
    key = (name, tuple(labels.items()))
    with _lock:
        check(kind, name, labels, bounds)
        sample = sample_of(name, labels)
        if sample in _samples:
            _made[key] = _samples[sample]
            return _made[key]
        if name not in _kinds:
            _kinds[name] = kind
            _owners.update(dict.fromkeys(names_of(kind, name), name))
            tell(name.removesuffix("_total") if kind == "c" else name, text)
        made: Counter | Gauge | Histogram
        if kind == "h":
            buckets = [cell("h", f"{name}_bucket", {**labels, "le": limit(bound)}) for bound in (*bounds, INFINITY)]
            made = Histogram(bounds, buckets, cell("h", f"{name}_sum", labels))
        elif kind == "c":
            made = Counter(cell(kind, name, labels))
        else:
            made = Gauge(cell(kind, name, labels))
        _made[key] = _samples[sample] = made
        return made


def names_of(kind: str, name: str) -> list[str]:
    """Return the names that a metric has on /metrics: its own, those of its samples, and that of OpenMetrics."""
    if kind == "h":
        return [name, *(name + part for part in PARTS)]
    return [name, name.removesuffix("_total")] if kind == "c" else [name]


def check(kind: str, name: str, labels: dict[str, str], bounds: tuple[float, ...]) -> None:
    if not NAME.match(name.removesuffix("_total") if kind == "c" else name):
        raise ValueError(f"invalid name of a metric: {name!r}")
    if name.startswith(RESERVED):
        raise ValueError(f"{name}: names that begin with {name.partition('_')[0]}_ are the server's")
    if _kinds.get(name, kind) != kind:
        raise ValueError(f"{name} is the name of another kind of metric")
    for each in names_of(kind, name):
        if _owners.get(each, name) != name:
            raise ValueError(f"{name}: the metric {_owners[each]} has the name {each} on /metrics")
    for label in labels:
        if not LABEL.match(label) or label == "le":
            raise ValueError(f"{name}: invalid label {label!r}")
    if list(bounds) != sorted(set(bounds)) or not all(-INFINITY < bound < INFINITY for bound in bounds):
        raise ValueError(f"{name}: expected buckets in ascending order and below infinity, not {bounds!r}")


def cell(kind: str, name: str, labels: dict[str, str]) -> OwnCell:
    return _cells.take(kind, sample_of(name, labels)) or nowhere()


def sample_of(name: str, labels: dict[str, str]) -> str:
    """Return a sample's name with its labels, as in the text format, sorted by name so that workers agree."""
    if not labels:
        return name
    given = sorted((label, str(value)) for label, value in labels.items() if label != "le")
    given += [(label, value) for label, value in labels.items() if label == "le"]
    return name + "{" + ",".join(f'{label}="{escaped(value)}"' for label, value in given) + "}"


def escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def limit(bound: float) -> str:
    return "+Inf" if bound == INFINITY else repr(float(bound))


def tell(name: str, text: str) -> None:
    if text:
        of_process().tell(f"{name} {' '.join(text.split())}\n".encode())


def nowhere() -> OwnCell:
    """Return a cell that nobody reads, for what there is no room for."""
    from fastserve._core.metrics import Metrics

    return OwnCell(Metrics(), 0, b"nowhere")
