"""A real Prometheus scrapes a real server; its queries are those of the dashboard, its rules those of the example."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from metrics.scraping import Served
from metrics.test_table import EXAMPLE

if shutil.which("prometheus") is None:
    raise RuntimeError("these tests need prometheus (Debian: apt-get install prometheus)")

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}
rule_files: [{rules}]
scrape_configs:
  - job_name: fastserve
    static_configs: [{{targets: ["{target}"]}}]
"""


class Prometheus:
    """A Prometheus of the tests' own, and the server that it scrapes."""

    def __init__(self, folder: Path, served: Served) -> None:
        self.served = served
        config = folder / "prometheus.yml"
        target = served.address.removeprefix("http://")
        config.write_text(CONFIG.format(rules=EXAMPLE / "alerts.yml", target=target), "utf-8")
        arguments = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        self.command = support.Command(["prometheus", *arguments, "--web.listen-address=127.0.0.1:0"])
        self.url = f"http://{self.command.wait_line(r'Listening on.* address=(127[.]0[.]0[.]1:[0-9]+)')[1]}"
        self.command.wait_line("Server is ready to receive web requests")  # until then it responds with 503

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of a response of its API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=support.PATIENCE) as response:
            found = json.load(response)
        assert found["status"] == "success", found
        assert not found.get("warnings"), found
        return found["data"]

    def value(self, query: str) -> float | None:
        result = self.ask("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None

    def until(self, query: str, wanted: float) -> None:
        end = time.monotonic() + support.PATIENCE
        while self.value(query) != wanted:
            assert time.monotonic() < end, (query, self.value(query), self.ask("targets"))
            time.sleep(0.05)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    arguments = ["metrics_app:app", "--app-dir", support.APPS, "--port", "0", "--workers", "2", "--metrics-routes"]
    command = support.command(*arguments, "--metrics-bind", "127.0.0.1:0", "--no-access-log")
    try:
        made = Prometheus(tmp_path_factory.mktemp("prometheus"), Served(command))
        try:
            for path in ("/200", "/404", "/items/1", "/raise", "/job"):
                command.get(path)
            yield made
        finally:
            made.command.close()
    finally:
        command.close()


def test_it_is_scraped(prometheus: Prometheus) -> None:
    """In OpenMetrics, which it asks for."""
    prometheus.until("sum(http_server_request_duration_seconds_count)", 5)
    prometheus.until('sum(http_server_request_duration_seconds_count{http_response_status_code="500"})', 1)
    prometheus.until('jobs_total{kind="mail"}', 1)
    prometheus.until("up", 1)
    metadata = prometheus.ask("metadata")
    assert metadata["fastserve_loop_lag_seconds"][0]["type"] == "histogram"
    assert metadata["jobs"][0]["help"] == "Jobs that were done."


# Panels of what does not happen in these tests.
NOTHING_YET = {"Refused requests", "Ends of workers", "Closed WebSockets", "The certificate ends in", "5xx by route"}
NOTHING_YET |= {"Errors of the application"}  # none that a client has left


def test_queries_of_the_dashboard(prometheus: Prometheus) -> None:
    """Each is valid, and all but those of what has not happened find something."""
    prometheus.until("max(count_over_time(http_server_request_duration_seconds_count[1m])) > bool 2", 1)  # a rate
    dashboard = json.loads((EXAMPLE / "dashboard.json").read_text("utf-8"))
    end = time.monotonic() + support.PATIENCE
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
            # After a scrape that took too long there is nothing until the next.
            while not prometheus.ask("query", query=query)["result"] and panel["title"] not in NOTHING_YET:
                assert time.monotonic() < end, panel["title"]
                time.sleep(0.05)
    for each in dashboard["annotations"]["list"]:
        prometheus.ask("query", query=each["expr"].replace("$job", ".*").replace("$instance", ".*"))


def test_rules_are_evaluated(prometheus: Prometheus) -> None:
    end = time.monotonic() + support.PATIENCE
    while True:
        (group,) = prometheus.ask("rules")["groups"]
        if all(rule["health"] == "ok" for rule in group["rules"]):
            break
        assert time.monotonic() < end, group
        time.sleep(0.05)
    assert len(group["rules"]) >= 13


def test_promtool(prometheus: Prometheus) -> None:
    """It has nothing to say of the metrics, nor of the rules and the configuration."""
    for headers in ({}, {"Accept": "application/openmetrics-text; version=1.0.0"}):
        text = prometheus.served.fetch("/metrics", **headers)[1]
        if not headers:
            done = subprocess.run(
                ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert text.endswith("# EOF\n") is bool(headers)
    for arguments in (["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"]):
        done = subprocess.run(["promtool", *arguments], cwd=EXAMPLE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
