"""The table of metrics against the core's cells, and against what is written elsewhere: dashboard, alerts, pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from fastserve._core import metrics as core
from fastserve._core.metrics import SCALAR_CELLS, SHAPE, Metrics, parts_of_key, reason_of
from fastserve.metrics.exposition import FROM_PAGES, render
from fastserve.metrics.pages import Totals
from fastserve.metrics.source import OwnSource, ParentSource, readings
from fastserve.metrics.table import COUNTER, GAUGE, HISTOGRAM, TABLE
from fastserve.metrics.watched import Watched

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "prometheus"
NAME = re.compile(r"\b(?:fastserve|http_server|process)_[a-z0-9_]+")
# Labels of OpenTelemetry, not metrics.
LABELS = {"http_request_method", "http_response_status_code", "network_protocol_version", "url_scheme"}


def sample_names() -> set[str]:
    names = set()
    for row in TABLE:
        names |= (
            {f"{row.name}{end}" for end in ("_bucket", "_sum", "_count")} if row.kind == HISTOGRAM else {row.sample}
        )
    return names


def test_rows() -> None:
    """Names are unique and say their unit, kinds are known, help is a sentence, and values come from somewhere."""
    assert len({row.name for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert row.kind in (COUNTER, GAUGE, HISTOGRAM)
        assert re.fullmatch(r"(fastserve|http_server|process)_[a-z_]+", row.name), row.name
        assert not row.name.endswith("_total")
        assert row.name.endswith(row.unit), row.name
        assert row.help[0].isupper() and row.help.endswith((".", ")")), row.help
        assert bool(row.cells) != bool(row.source), row.name
        for cell in row.cells:
            assert tuple(name for name, _ in cell.labels) == row.labels, row.name


def test_every_cell_is_in_one_row() -> None:
    used = [(cell.name, cell.offset) for row in TABLE for cell in row.cells]
    assert len(used) == len(set(used))
    named = {name for name, _ in used} | {"last_lag", "beat_due", "accepting", "process_busy"}  # shown by worker alone
    assert named == set(SCALAR_CELLS)


def test_every_source_is_known() -> None:
    watched = Watched()
    parent = ParentSource(watched, dict, lambda: True, list)
    found = readings(parent, {0: Totals()}, [], "auto")
    assert {row.source for row in TABLE if row.source} == set(found) | set(FROM_PAGES)
    own = readings(OwnSource(lambda: True, list), {0: Totals()}, [], "auto")
    assert set(found) - set(own) == {"worker_starts", "worker_ends", "reloads"}


def test_layout() -> None:
    """The parts of the page follow one another and end within 80 KiB."""
    assert SHAPE["series"] + SHAPE["series_count"] * SHAPE["series_size"] == SHAPE["routes"]
    assert SHAPE["routes"] + SHAPE["route_count"] * SHAPE["route_size"] == SHAPE["own"]
    assert SHAPE["own"] + SHAPE["own_count"] * SHAPE["own_size"] == SHAPE["texts"]
    assert SHAPE["texts"] < SHAPE["more"] < SHAPE["cells"] == 80 * 1024 // 8
    assert len(Metrics().read()) == 80 * 1024


def test_keys() -> None:
    assert parts_of_key(60000) == ("_OTHER",) * 4
    page = Metrics()
    page.request("QUERY", 200, "1.0", True, 0.1)
    page.request("GET", 5000, "3", False, 0.1)
    totals = Totals()
    totals.add(page.read())
    assert {parts_of_key(key) for key in totals.sums.series} == {
        ("_OTHER", "200", "1.0", "https"),
        ("GET", "999", "1.1", "http"),
    }


def fault_texts() -> set[tuple[int, str]]:
    """Every status and text with which our parsers refuse a request."""
    found = set()
    for folder in ("_core", "protocols/http"):
        for path in (ROOT / "src/fastserve" / folder).rglob("*.py*"):
            if path.suffix in (".pyx", ".py"):
                text = path.read_text("utf-8")
                for match in re.finditer(r'(?:fault|ProtocolError)\((\d{3}), b?"([^"]+)"', text):
                    found.add((int(match[1]), match[2]))
    return found


def test_reasons_of_faults() -> None:
    """Each is counted under its status, with one of the reasons that the table lists."""
    texts = fault_texts()
    assert len(texts) > 25
    for status, text in texts:
        assert (status, reason_of(status, text)) in core.REFUSALS, (status, text, reason_of(status, text))
    for text, reason in (
        ("malformed request line", "syntax"),
        ("missing Host header", "host"),
        ("malformed authority in the request target", "host"),
        ("unreliable Transfer-Encoding", "framing"),
        ("Content-Length can't be present with chunked encoding", "framing"),
        ("forbidden trailer field", "framing"),
        ("Invalid character in chunk size", "framing"),
        ("malformed header field", "syntax"),
    ):
        assert reason_of(400, text) == reason


def expressions() -> list[str]:
    dashboard = json.loads((EXAMPLE / "dashboard.json").read_text("utf-8"))
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    found += [each["expr"] for each in dashboard["annotations"]["list"]]
    found += [each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    groups = yaml.safe_load((EXAMPLE / "alerts.yml").read_text("utf-8"))["groups"]
    return found + [rule["expr"] for group in groups for rule in group["rules"]]


def test_dashboard_and_alerts_name_metrics_of_the_table() -> None:
    named = {name for text in expressions() for name in NAME.findall(text)} - LABELS
    assert named - sample_names() == set()
    assert len(named) > 30


def test_every_metric_is_on_the_dashboard() -> None:
    """But for those that say little by themselves."""
    named = {name for text in expressions() for name in NAME.findall(text)}
    missing = {row.name for row in TABLE if not any(name.startswith(row.name) for name in named)}
    assert {name for name in missing if not name.startswith("process_")} == {
        "fastserve_host_listen_overflows",
        "fastserve_websocket_bytes",
        "fastserve_worker_accepting",
        "fastserve_wsgi_threads",
    }


@pytest.mark.parametrize("openmetrics", [False, True])
def test_text(openmetrics: bool) -> None:
    """What must be escaped is, and the formats differ where they have to."""
    page = Metrics()
    page.count_by_route()
    route = type("Route", (), {"path": '/a"b\\c\nd'})()
    page.request("GET", 200, "1.1", False, 0.3, {"route": route})
    totals = Totals()
    totals.add(page.read())
    text = render({0: totals}, {}, openmetrics=openmetrics, options={"metrics_routes"}, per_worker=False)
    assert r'fastserve_route_requests_total{method="GET",route="/a\"b\\c\nd",code="2xx"} 1' in text
    assert 'le="0.25"} 0\n' in text and 'le="0.5"} 1\n' in text and 'le="+Inf"} 1\n' in text
    assert ("# TYPE fastserve_route_requests counter\n" in text) is openmetrics
    assert ("# TYPE fastserve_route_requests_total counter\n" in text) is not openmetrics
    assert text.endswith("# EOF\n") is openmetrics
    assert ("# UNIT fastserve_loop_lag_seconds seconds\n" in text) is openmetrics
