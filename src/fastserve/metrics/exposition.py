"""The texts of `/metrics`: Prometheus' format 0.0.4, and OpenMetrics 1.0 where a scraper asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fastserve._core.metrics import BOUNDS, SCALAR_CELLS, SHAPE, parts_of_key
from fastserve.metrics.pages import Totals, in_all
from fastserve.metrics.table import COUNTER, GAUGE, HISTOGRAM, REQUEST_LABELS, TABLE, Labels, Metric

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# As in OpenMetrics in both formats: 1.0, not 1.
LIMITS = [f'le="{limit}"}} ' for limit in (*map(repr, BOUNDS), "+Inf")]
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
SUMMARY = "summary"
OWN_KINDS = {"c": COUNTER, "g": GAUGE, ">": GAUGE, "<": GAUGE, "h": HISTOGRAM, "s": SUMMARY}

Readings = Mapping[str, Iterable[tuple[Labels, float]]]  # samples by the `source` of their row


def wants_openmetrics(accept: str) -> bool:
    """Return whether an Accept header asks for OpenMetrics 1.0, which is preferred where both are welcome."""
    for each in accept.split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        given = dict(part.split("=", 1) for part in parameters if "=" in part)
        if kind == "application/openmetrics-text" and given.get("version", "1.0.0") in ("1.0.0", "0.0.1"):
            return given.get("q", "1") not in ("0", "0.0", "0.00", "0.000")
    return False


def render(
    places: Mapping[int, Totals], readings: Readings, *, openmetrics: bool, options: set[str], per_worker: bool
) -> str:
    """Return the text for the sums of all places; `options` are those that are set, by which some rows are there."""
    total = in_all(dict(places))
    lines: list[str] = []
    for row in TABLE:
        if row.option and row.option not in options:
            continue
        if row.source in readings:
            found = [f"{row.sample}{labelled(labels)} {number(value)}" for labels, value in readings[row.source]]
        elif row.source and row.source not in FROM_PAGES:
            continue  # nothing is known of it here
        elif per_worker:
            found = [line for place, sums in places.items() for line in samples(row, sums, (("worker", str(place)),))]
        else:
            found = list(samples(row, total))
        if found:
            lines += header(row.name, row.kind, row.help, row.unit, openmetrics)
            lines += found
    own(lines, total, openmetrics)
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def samples(row: Metric, totals: Totals, more: Labels = ()) -> Iterator[str]:
    """Yield the samples of a row that pages have; `more` are labels that each gets."""
    if row.source:
        yield from FROM_PAGES[row.source](row.sample, totals, more)
        return
    for cell in row.cells:
        if row.kind == HISTOGRAM:
            yield from histogram(row.name, (*cell.labels, *more), totals.sums.histogram(SCALAR_CELLS[cell.name]))
            continue
        value = totals.scalar(cell.name, cell.offset)
        if value or row.merge != "min":  # else there is none
            scaled = value if row.scale == 1 else value * row.scale
            yield f"{row.sample}{labelled((*cell.labels, *more))} {number(scaled)}"


def histogram(name: str, labels: Labels, values: list[int]) -> list[str]:
    braced = labelled(labels)
    begin = f"{name}_bucket{braced[:-1]}," if labels else f"{name}_bucket{{"
    lines, count = [], 0
    for limit, value in zip(LIMITS, values, strict=False):
        count += value
        lines.append(f"{begin}{limit}{count}")
    return [*lines, f"{name}_sum{braced} {number(values[-1] / 1e9)}", f"{name}_count{braced} {count}"]


def requests(name: str, totals: Totals, more: Labels) -> Iterator[str]:
    for key, values in sorted(totals.sums.series.items()):
        labels = tuple(zip(REQUEST_LABELS, parts_of_key(key), strict=True))
        yield from histogram(name, (*labels, *more), values)


def routes(name: str, totals: Totals, more: Labels) -> Iterator[str]:
    for route, values in sorted(totals.sums.routes.items()):
        yield from histogram(name, (*labels_of(route), *more), values[SHAPE["classes"] :])


def route_requests(name: str, totals: Totals, more: Labels) -> Iterator[str]:
    for route, values in sorted(totals.sums.routes.items()):
        begin = f"{name}{labelled((*labels_of(route), *more))[:-1]}"
        for code, value in zip(CLASSES, values, strict=False):
            yield f'{begin},code="{code}"}} {value}'


def labels_of(name: str) -> Labels:
    method, _, route = name.partition(" ")
    return (("method", method), ("route", route))


FROM_PAGES = {"requests": requests, "routes": routes, "route_requests": route_requests}


def own(lines: list[str], totals: Totals, openmetrics: bool) -> None:
    """Add the application's own metrics: cells are named by kind and sample, a histogram's by its buckets and sum."""
    families: dict[tuple[str, str], dict[str, float]] = {}
    for cell, value in totals.own.items():
        kind, sample = OWN_KINDS.get(cell[0]), cell[1:]
        if kind is not None:
            name = sample.partition("{")[0]
            if kind == HISTOGRAM:
                name = name.removesuffix("_bucket").removesuffix("_sum")
            elif kind == SUMMARY:
                name = name.removesuffix("_count").removesuffix("_sum")
            families.setdefault((name, kind), {})[sample] = value
    taken = {row.name for row in TABLE}
    for (name, kind), cells in sorted(families.items()):
        family = name.removesuffix("_total") if kind == COUNTER else name
        if family in taken:
            continue  # of two metrics with one name the server's is shown, or the first
        taken.add(family)
        lines += header(family, kind, totals.texts.get(family, ""), "", openmetrics)
        if kind == HISTOGRAM:
            lines += own_histogram(name, cells)
        else:
            lines += [f"{sample} {number(value)}" for sample, value in sorted(cells.items())]


def own_histogram(name: str, cells: dict[str, float]) -> Iterator[str]:
    """Yield the lines of a histogram whose buckets have each what is in no bucket before it."""
    sums: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {}
    for sample, value in cells.items():
        labels = sample.partition("{")[2].rstrip("}")
        if sample.startswith(f"{name}_sum"):
            sums[labels] = value
            continue
        rest, _, limit = labels.rpartition('le="')
        bound = float(limit.rstrip('"'))
        buckets.setdefault(rest.rstrip(","), {})[bound] = value
    for labels, found in sorted(buckets.items()):
        count = 0.0
        before = f"{labels}," if labels else ""
        for bound, value in sorted(found.items()):
            count += value
            limit = "+Inf" if bound == float("inf") else repr(bound)
            yield f'{name}_bucket{{{before}le="{limit}"}} {number(count)}'
        braced = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{braced} {number(sums.get(labels, 0.0))}"
        yield f"{name}_count{braced} {number(count)}"


def header(name: str, kind: str, text: str, unit: str, openmetrics: bool) -> Iterator[str]:
    shown = f"{name}_total" if kind == COUNTER and not openmetrics else name
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        escaped = escaped.replace('"', r"\"")
    if text:
        yield f"# HELP {shown} {escaped}"
    yield f"# TYPE {shown} {kind}"
    if openmetrics and unit:
        yield f"# UNIT {shown} {unit}"


def labelled(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels) + "}"


def escape(value: str) -> str:
    """Return a label's value as it stands between quotes."""
    if value.isalnum():
        return value
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def number(value: float) -> str:
    """Return a value in the shortest form that is read back as the same number."""
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value).replace("inf", "Inf")
