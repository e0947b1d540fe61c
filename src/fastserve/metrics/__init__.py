"""Metrics: those of the server at `--metrics-bind`, and the application's own beside them.

    jobs = fastserve.metrics.counter("jobs_total", "Jobs that were done.", kind="mail")
    jobs.add()

They are right over all workers, without files and without a lock.
"""

from __future__ import annotations

from fastserve.metrics.own import Counter, Gauge, Histogram, counter, gauge, histogram

__all__ = ["Counter", "Gauge", "Histogram", "counter", "gauge", "histogram"]
