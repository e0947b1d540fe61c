"""Worker classes for gunicorn: `gunicorn -k fastserve.workers.FastserveWorker module:app`."""

from __future__ import annotations

from fastserve.workers.worker import FastserveWorker, FastserveWSGIWorker

__all__ = ["FastserveWSGIWorker", "FastserveWorker"]
