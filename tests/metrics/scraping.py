"""What the tests of metrics share: scraping, and reading what comes."""

from __future__ import annotations

import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import support

SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Key = tuple[str, frozenset[tuple[str, str]]]


class Scrape:
    """The samples of a text: values by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: dict[Key, float] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                match = SAMPLE.match(line)
                assert match, line
                key = (match[1], frozenset(LABEL.findall(match[2] or "")))
                assert key not in self.samples, f"twice: {line}"
                self.samples[key] = float(match[3])

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (each, given), value in self.samples.items() if each == name and wanted <= given)

    def has(self, name: str) -> bool:
        return any(each == name for each, _ in self.samples)

    def requests(self, status: int | str | None = None, **labels: str) -> float:
        if status is not None:
            labels["http_response_status_code"] = str(status)
        return self.value("http_server_request_duration_seconds_count", **labels)

    def counters(self) -> dict[Key, float]:
        """Return the samples that never fall."""
        ends = ("_total", "_count", "_sum", "_bucket")
        return {key: value for key, value in self.samples.items() if key[0].endswith(ends)}


class Served:
    """A server of metrics_app, and its metrics."""

    def __init__(self, command: support.Command) -> None:
        self.command = command
        self.address = command.wait_line(r"Metrics on (http://\S+)/metrics$")[1]

    def fetch(self, path: str, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(self.address + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=support.PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def scrape(self) -> Scrape:
        status, text = self.fetch("/metrics")
        assert status == 200, text
        return Scrape(text)

    def until(self, true: Callable[[Scrape], bool]) -> Scrape:
        """Return the first scrape of which this is true."""
        end = time.monotonic() + support.PATIENCE
        while not true(found := self.scrape()):
            assert time.monotonic() < end, found.text
            time.sleep(0.02)
        return found

    def connect_to_metrics(self) -> socket.socket:
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        return socket.create_connection((host, int(port)), timeout=support.PATIENCE)

    def connect(self) -> socket.socket:
        return self.command.connect()
