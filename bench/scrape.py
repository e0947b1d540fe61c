"""What a scrape costs: `python -m bench.scrape`, with 16 workers and 64 routes, at first and after 1,000 workers.

The pages are filled as workers would fill them, each in memory of its own, and read as the parent does. What is timed
is all of `/metrics` but the socket: pages, /proc, the queue of a listener, and the text. The least of several runs
counts: other processes only add to it.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time

from fastserve._core.metrics import Metrics
from fastserve.metrics.listener import Request
from fastserve.metrics.service import endpoints
from fastserve.metrics.source import ParentSource
from fastserve.metrics.watched import Watched
from fastserve.options.table import Options

STATUSES = (200, 201, 204, 301, 304, 400, 404, 500)


class Route:
    def __init__(self, path: str) -> None:
        self.path = path


def fill(watched: Watched, place: int, routes: list[Route], pid: int) -> None:
    """Add a worker that has served each of the routes."""
    live = watched.pages.begin(place)
    live.pid = pid
    page = Metrics(live.page.map_again())
    page.begin(pid, int(time.time()))
    page.count_by_route()
    for number, route in enumerate(routes):
        page.request("GET", STATUSES[number % len(STATUSES)], "1.1", False, 0.001 * number, {"route": route})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scrape", description=__doc__)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--routes", type=int, default=64)
    parser.add_argument("--ended", type=int, default=1000, help="workers that come and go")
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    routes = [Route(f"/route/{number}/{{id}}") for number in range(options.routes)]
    watched = Watched()
    for place in range(options.workers):
        fill(watched, place, routes, os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as sock:
        source = ParentSource(watched, dict, lambda: True, lambda: [sock])
        metrics = endpoints(source, Options("app", metrics_routes=True))["/metrics"]
        request = Request("GET", "/metrics", "", {})
        print(f"{options.workers} workers, {options.routes} routes: {timed(metrics, request, options.runs)}")
        for number in range(options.ended):
            place = number % options.workers
            watched.pages.end(next(live for live in watched.pages.live if live.place == place))
            fill(watched, place, routes, os.getpid())
        print(f"after {options.ended} workers: {timed(metrics, request, options.runs)}")


def timed(metrics: object, request: Request, runs: int) -> str:
    assert callable(metrics)
    seconds = []
    size = 0
    for _ in range(runs):
        began = time.process_time()
        size = len(metrics(request).body)
        seconds.append(time.process_time() - began)
    least, middle = min(seconds) * 1000, statistics.median(seconds) * 1000
    return f"{least:.2f} ms of CPU at least, {middle:.2f} in the middle, {size:,} bytes"


if __name__ == "__main__":
    main()
