"""The web view of the metrics listener: what it may show, and the ten minutes that it has."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from typing import Any

import pytest
import support
from metrics.conftest import Serve
from metrics.scraping import Served

from fastserve._core.metrics import BOUNDS, Metrics
from fastserve.metrics.pages import Totals
from fastserve.metrics.source import WorkerReading
from fastserve.metrics.status import HISTORY_POINTS, Document, History, percentile, point, worker_of

SECRET = "veryhidden"


def get(server: Served, path: str) -> tuple[dict[str, str], str]:
    with urllib.request.urlopen(server.address + path, timeout=support.PATIENCE) as response:
        return {name.lower(): value for name, value in response.headers.items()}, response.read().decode()


def status(server: Served) -> Any:
    return json.loads(server.fetch("/status.json")[1])


def strings(value: Any) -> set[str]:
    """Return every string of a document, the names of its fields as well."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return {*value, *(text for each in value.values() for text in strings(each))}
    return {text for each in value for text in strings(each)} if isinstance(value, list | tuple) else set()


@pytest.mark.parametrize("args", [(), ("--workers", "2"), ("--reload",)], ids=["single", "workers", "reload"])
def test_status(served: Serve, args: tuple[str, ...]) -> None:
    """It has sums and a line a worker, and nothing of a request or of the configuration."""
    server = served(*args, "--header", f"X-Own: {SECRET}")
    server.command.get(f"/200?{SECRET}", headers=f"Cookie: {SECRET}\r\n")
    server.command.get("/500")
    server.until(lambda found: found.requests() == 2)
    found = status(server)
    assert (found["requests"], found["errors"], sum(found["durations"])) == (2, 1, 2)
    assert len(found["workers"]) == (2 if args == ("--workers", "2") else 1)
    assert sum(each["requests"] for each in found["workers"]) == 2
    text = json.dumps(found)
    assert SECRET not in text and "/200" not in text and "127.0.0.1" not in text
    # What is text at all is a name of the table, a version or a state.
    words = strings(found)
    assert all(re.fullmatch(r"[a-z_0-9]+|\d+\.\d+[\w.]*", word) for word in words), words


def test_headers(served: Serve) -> None:
    """Nothing but its own style and script may be loaded, nothing may frame it, and it writes nothing."""
    server = served()
    headers, html = get(server, "/")
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/=]+'", policy["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/=]+'", policy["style-src"])
    assert policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert [each for each in loaded if not each.startswith("data:")] == ["/status.json"]
    assert "innerHTML" not in html
    with server.connect_to_metrics() as client:
        client.sendall(b"GET /status.json HTTP/1.1\r\nHost: rebound.example\r\n\r\n")
        assert support.read_all(client).startswith(b"HTTP/1.1 421 ")
    with server.connect_to_metrics() as client:
        client.sendall(b"POST /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert support.read_all(client).startswith(b"HTTP/1.1 405 ")


def test_history() -> None:
    """It has a point of each time, and no more than ten minutes of them."""
    seen = iter(range(HISTORY_POINTS + 50))

    def read() -> Document:
        now = next(seen)
        counts = [0] * (len(BOUNDS) + 1)
        counts[3] = 10 * now
        worker = {"worker": 0, "pid": 7, "requests": 10 * now}
        return {
            "now": 5.0 * now, "requests": 10 * now, "errors": now, "durations": counts, "active": 1, "queue": 2,
            "workers": [worker],
        }  # fmt: skip

    history = History(read)
    for _ in range(HISTORY_POINTS + 20):
        history.take()
    points = history.shown()
    assert len(points) == HISTORY_POINTS
    assert points[-1]["at"] == 5.0 * (HISTORY_POINTS + 19)
    assert {(each["rate"], each["errors"], each["active"], each["queue"]) for each in points} == {(2.0, 0.2, 1, 2)}
    assert points[0]["workers"] == {"0": 2.0}
    assert 0.0025 < points[0]["p50"] < 0.005


def test_a_history_that_has_stopped_has_no_thread() -> None:
    document: Document = {
        "now": 1.0, "requests": 0, "errors": 0, "durations": [0], "active": 0, "queue": 0, "workers": [],
    }  # fmt: skip
    history = History(lambda: document)
    history.stop()  # it need not have been started
    history = History(lambda: document)
    before = set(threading.enumerate())
    history.start()
    (thread,) = set(threading.enumerate()) - before
    history.stop()
    assert not thread.is_alive()


def test_point_of_a_worker_that_is_new() -> None:
    """Its requests are those since its start; sums that a restart has made smaller are not negative rates."""
    empty = [0] * (len(BOUNDS) + 1)
    shared: Document = {"errors": 0, "durations": empty, "active": 0, "queue": 0}
    before = {**shared, "now": 0.0, "requests": 50, "workers": [{"worker": 0, "pid": 7, "requests": 50}]}
    now = {**shared, "now": 5.0, "requests": 10, "workers": [{"worker": 0, "pid": 8, "requests": 10}]}
    found = point(before, now)
    assert (found["rate"], found["workers"], found["p99"]) == (0, {"0": 2.0}, None)
    now["workers"].append({"worker": 0, "pid": 7, "requests": 70})  # the one before still has requests to finish
    assert point(before, now)["workers"] == {"0": 6.0}


def test_percentiles() -> None:
    counts = [0] * (len(BOUNDS) + 1)
    assert percentile(0.5, counts) is None
    counts[0] = 100
    assert percentile(0.5, counts) == BOUNDS[0] / 2
    counts[-1] = 900
    assert percentile(0.5, counts) == BOUNDS[-1]


def test_worker_of_a_page() -> None:
    counting = Metrics()
    counting.begin(1, 1)
    counting.request("GET", 200, "1.1", False, 0.002)
    counting.request("GET", 503, "1.1", False, 0.002)
    totals = Totals()
    totals.add(counting.read())
    found = worker_of(WorkerReading(3, 2**30, "ready", totals, 0.0))
    assert (found["worker"], found["requests"], found["errors"], found["rss"]) == (3, 2, 1, None)
