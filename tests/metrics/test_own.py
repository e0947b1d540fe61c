"""The application's own metrics, and those of prometheus_client, over workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import support
from metrics.conftest import Serve
from metrics.scraping import Scrape, Served

from fastserve import metrics
from fastserve._core.metrics import Metrics, OwnCell
from fastserve.metrics.exposition import render
from fastserve.metrics.own import Cells, pieces_of
from fastserve.metrics.pages import Totals, of_process


def shown() -> Scrape:
    """Return what a scrape of this process would have."""
    totals = Totals()
    totals.add(of_process().read())
    return Scrape(render({0: totals}, {}, openmetrics=False, options=set(), per_worker=False))


def test_merged_over_workers(served: Serve) -> None:
    """Counters and histograms are summed, also with those of workers that have ended; gauges over those that live."""
    server = served("--workers", "2")
    server.until(lambda found: found.value("fastserve_workers", state="ready") == 2)
    for _ in range(8):
        server.command.get("/job")
    found = server.scrape()
    assert "# HELP jobs_total Jobs that were done.\n# TYPE jobs_total counter\n" in found.text
    assert found.value("jobs_total", kind="mail") == 8
    assert [found.value("sizes_bucket", le=limit) for limit in ("1.0", "10.0", "+Inf")] == [0, 8, 8]
    assert (found.value("sizes_count"), found.value("sizes_sum")) == (8, 40)
    depth = found.value("depth")
    assert depth in (3, 6)
    pids: set[int] = set()
    while len(pids) < depth / 3:
        pids.add(int(server.command.get("/pid").rpartition(b"\r\n\r\n")[2]))
    os.kill(pids.pop(), signal.SIGKILL)
    found = server.until(lambda found: found.value("fastserve_worker_ends_total", reason="signal") == 1)
    assert found.value("jobs_total", kind="mail") == 8
    assert found.value("sizes_count") == 8
    assert found.value("depth") <= depth


def test_counter() -> None:
    one = metrics.counter("own_one", "Help\nof two  lines.", b="2", a='q"\\')
    one.add()
    one.add(2.5)
    assert metrics.counter("own_one_total", b="2", a='q"\\') is one
    text = shown().text
    assert "# HELP own_one_total Help of two lines.\n" in text
    assert r'own_one_total{a="q\"\\",b="2"} 3.5' in text
    for amount in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="only grows"):
            one.add(amount)
    assert metrics.counter("own_one", b="2", a='q"\\') is one


def test_gauge() -> None:
    metrics.gauge("own_gauge", "").set(5)
    metrics.gauge("own_gauge").add(-2)
    assert shown().value("own_gauge") == 3
    with pytest.raises(ValueError, match="merge"):
        metrics.gauge("own_other", merge="mean")


@pytest.mark.parametrize(("merge", "value"), [("sum", 7), ("max", 4), ("min", 1)])
def test_merge_of_gauges(merge: str, value: float) -> None:
    totals = Totals()
    for each in (4, 1, 2):
        page = Metrics()
        OwnCell(page, 0, {"sum": b"gx", "max": b">x", "min": b"<x"}[merge]).set(each)
        totals.add(page.read())
    assert Scrape(render({0: totals}, {}, openmetrics=False, options=set(), per_worker=False)).value("x") == value


def test_histogram() -> None:
    made = metrics.histogram("own_seconds", "How long.", (0.1, 1), route="/")
    for value in (0.1, 0.5, 3):
        made.observe(value)
    with pytest.raises(ValueError, match="numbers"):
        made.observe(float("nan"))
    found = shown()
    assert [found.value("own_seconds_bucket", le=limit, route="/") for limit in ("0.1", "1.0", "+Inf")] == [1, 2, 3]
    assert found.value("own_seconds_sum", route="/") == pytest.approx(3.6)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("", {}),
        ("_total", {}),
        ("a b", {}),
        ("fastserve_x", {}),
        ("process_x", {}),
        ("x", {"le": "1"}),
        ("x", {"__a": "1"}),
    ],
)
def test_invalid_names(name: str, labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"invalid|server's"):
        metrics.counter(name, **labels)


def test_one_name_is_of_one_kind() -> None:
    metrics.gauge("own_kind_total")
    with pytest.raises(ValueError, match="another kind"):
        metrics.counter("own_kind_total", a="1")
    for buckets in ((2, 1), (1, float("inf")), (float("nan"),)):
        with pytest.raises(ValueError, match="buckets"):
            metrics.histogram("own_buckets", buckets=buckets)
    with pytest.raises(ValueError, match="another kind"):
        metrics.counter("own_kind_total")
    with pytest.raises(ValueError, match="another kind"):
        metrics.gauge("own_kind_total", merge="max")
    with pytest.raises(ValueError, match="another kind"):
        metrics.histogram("own_kind_total")


def test_no_two_metrics_have_one_name_on_the_page() -> None:
    metrics.counter("own_taken_total")
    metrics.histogram("own_parts")
    for make, name in ((metrics.gauge, "own_taken"), (metrics.gauge, "own_parts_sum"), (metrics.counter, "own_parts")):
        with pytest.raises(ValueError, match="has the name"):
            make(name)
    metrics.gauge("own_whole_count")
    with pytest.raises(ValueError, match="has the name own_whole_count"):
        metrics.histogram("own_whole")


def test_long_names() -> None:
    """A name takes as many cells as it needs, and comes together again."""
    label = "ä" * 100 + "x" * 100
    metrics.counter("own_long", value=label).add(4)
    assert shown().value("own_long_total", value=label) == 4
    assert b"".join(pieces_of(label)).decode() == label


def test_no_room(caplog: pytest.LogCaptureFixture) -> None:
    """What finds no room is warned of once, and counts for nobody."""
    cells = Cells(255, 256)
    assert cells.take("c", "own_last_total") is not None
    assert cells.take("c", "own_beyond_total") is None
    assert cells.take("c", "own_more_total") is None
    assert [record.getMessage() for record in caplog.records] == [
        "No room for more metrics of the application's own: own_beyond_total and others are not shown."
    ]


PROMETHEUS_APP = """
import prometheus_client
from fastserve.metrics import prometheus

early = prometheus_client.Counter("early", "Made before.")
prometheus.collect()
calls = prometheus_client.Counter("calls", "Calls.", ["path"])
size = prometheus_client.Histogram("size", "Sizes.", buckets=(1, 5))
seen = prometheus_client.Summary("seen", "Seen.")
level = prometheus_client.Gauge("level", "Level.", multiprocess_mode="max")

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    early.inc()
    calls.labels(scope["path"]).inc()
    size.observe(3)
    seen.observe(2)
    level.set(9)
    for number in range(300 if scope["path"] == "/many" else 0):
        calls.labels(f"/{number}").inc()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": prometheus_client.generate_latest()})
"""


def test_prometheus_client(command: support.StartCommand, tmp_path: Path) -> None:
    """Its registry is shown once, whatever the number of workers, with more than 256 series; its own text is right."""
    (tmp_path / "main.py").write_text(PROMETHEUS_APP)
    server = command("main:app", "--port", "0", "--workers", "2", "--metrics-bind", "127.0.0.1:0", cwd=tmp_path)
    for _ in range(9):
        server.get("/a")
    text = server.get("/many").decode()
    assert 'calls_total{path="/299"} 1.0' in text
    served = Served(server)
    found = served.scrape()
    assert found.text.count("# TYPE calls_total counter") == 1
    assert found.value("calls_total", path="/a") == 9
    assert found.value("early_total") == found.value("size_count") == found.value("seen_count") == 10
    assert (found.value("seen_sum"), found.value("level")) == (20, 9)
    assert [found.value("size_bucket", le=limit) for limit in ("1.0", "5.0", "+Inf")] == [0, 10, 10]
    assert found.value("calls_total") == 9 + 1 + 300
    assert found.text.count("\nprocess_cpu_seconds_total ") == 1


def test_cost() -> None:
    """An application that has metrics imports nothing heavy for them."""
    code = "import sys; before = set(sys.modules); import fastserve.metrics; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "http.server" not in done.stdout
    assert "asyncio" not in done.stdout
