"""All samples of a run, what they come to, and their JSON file."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.load import rows as row_table
from bench.load.measure import Sample
from bench.load.rows import Row

NO_PEERS = ("floor", row_table.ALONE)


@dataclass(frozen=True)
class Figure:
    """Medians over the repetitions of one row of one server; `value` is None when no repetition gave one.

    `ratio` is the share of the reference server's value, None without one; `low` and `high` are the extremes.
    """

    value: float | None
    low: float = 0.0
    high: float = 0.0
    ratio: float | None = None
    rate: float = 0.0
    system: float = 0.0
    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    resident: float = 0.0
    complaints: tuple[str, ...] = ()


@dataclass
class Results:
    """The samples by row and server in the order of the run; `about` says when, where and with what they were made.

    `impossible` says, by row and server, why there are none.
    """

    rows: list[Row]
    servers: list[str]
    reference: str
    about: dict[str, Any] = field(default_factory=dict)
    impossible: dict[str, dict[str, str]] = field(default_factory=dict)
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)

    def add(self, row: Row, server: str, sample: Sample) -> None:
        self.samples.setdefault(row.name, {}).setdefault(server, []).append(sample)

    def of(self, row: Row, server: str) -> list[Sample]:
        return self.samples.get(row.name, {}).get(server, [])

    def figure(self, row: Row, server: str) -> Figure | None:
        """The figure of a row and server, None when it was not asked for."""
        samples = self.of(row, server)
        if not samples:
            return None
        complaints = tuple(dict.fromkeys(text for sample in samples for text in (sample.fault, sample.errors) if text))
        good = [sample for sample in samples if sample.value is not None]
        values = [sample.value for sample in good if sample.value is not None]
        if not values:
            return Figure(None, complaints=complaints)
        value = statistics.median(values)
        reference = _median(sample.value for sample in self.of(row, self.reference))

        return Figure(
            value,
            min(values),
            max(values),
            value / reference if reference else None,
            rate=statistics.median(sample.rate for sample in good),
            system=statistics.median(sample.system for sample in good),
            p50=_median(sample.p50 for sample in good),
            p99=_median(sample.p99 for sample in good),
            p999=_median(sample.p999 for sample in good),
            resident=statistics.median(sample.resident for sample in good),
            complaints=complaints,
        )

    def reason_against(self, row: Row, server: str) -> str:
        """Return why a server cannot serve a row; empty where that is not known."""
        return self.impossible.get(row.name, {}).get(server, "")

    def share(self, row: Row, server: str, of: str) -> float | None:
        """Return a server's figure as a share of another's; None when one of them is not known."""
        own, other = self.figure(row, server), self.figure(row, of)
        if own is None or other is None or own.value is None or not other.value:
            return None
        return own.value / other.value

    def is_least(self, row: Row, server: str) -> bool | None:
        """Whether the server's figure is below those of all peers; None when that cannot be said."""
        own = self.figure(row, server)
        names = [name for name in self.servers if name not in NO_PEERS and not name.startswith("fastserve")]
        others = [self.figure(row, name) for name in names]
        values = [other.value for other in others if other is not None and other.value is not None]
        return own.value < min(values) if own is not None and own.value is not None and values else None

    @property
    def counted(self) -> str:
        """What a figure of CPU time is for: "a request", "a message" or both."""
        return "a " + " or ".join(sorted({row.noun for row in self.rows}, reverse=True))

    def has_faults(self) -> bool:
        """Whether any measurement gave no figure."""
        return any(sample.fault for found in self.samples.values() for samples in found.values() for sample in samples)

    def others(self) -> float:
        """The largest share of the server's core that other processes had during a measurement."""
        return max(
            (sample.others for found in self.samples.values() for samples in found.values() for sample in samples),
            default=0.0,
        )

    def only(self, rows: Iterable[str], servers: Iterable[str]) -> Results:
        """The same results with fewer rows and servers; the reference stays what the ratios are made with."""
        rows, servers = set(rows), set(servers)
        return Results(
            [row for row in self.rows if row.name in rows],
            [server for server in self.servers if server in servers],
            self.reference,
            self.about,
            self.impossible,
            self.samples,
        )

    def save(self, path: Path) -> None:
        figures = {
            row.name: {server: asdict(figure) for server in self.servers if (figure := self.figure(row, server))}
            for row in self.rows
        }
        rows = [
            {
                "name": row.name,
                "title": row.title,
                "unit": row.unit,
                "connections": row.connections,
                "streams": row.streams,
                "goal": row.goal,
                "goals": dict(row.goals),
                "most": row.most,
                "least": row.least,
            }
            for row in self.rows
        ]
        samples = {
            row: {server: [asdict(sample) for sample in found] for server, found in of_row.items()}
            for row, of_row in self.samples.items()
        }
        document = {
            "about": self.about,
            "reference": self.reference,
            "servers": self.servers,
            "rows": rows,
            "impossible": self.impossible,
            "figures": figures,
            "samples": samples,
        }
        path.write_text(json.dumps(document, indent=1) + "\n")


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def load(path: Path) -> Results:
    """The results that `save` wrote. ValueError when the file is not such a one, OSError when it cannot be read."""
    try:
        document = json.loads(path.read_text())
        samples = {
            row: {server: [Sample(**sample) for sample in found] for server, found in of_row.items()}
            for row, of_row in document["samples"].items()
        }
        rows = [row_table.BY_NAME[row["name"]] for row in document["rows"]]
        impossible = document.get("impossible", {})
        return Results(rows, document["servers"], document["reference"], document["about"], impossible, samples)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a file of results: {error!r}") from error
