"""Worker classes for gunicorn: `gunicorn -k fastserve.workers.FastserveWorker module:app`."""

from __future__ import annotations

from fastserve.workers.worker import FastserveH11Worker, FastserveWorker, FastserveWSGIWorker

__all__ = ["FastserveH11Worker", "FastserveWSGIWorker", "FastserveWorker", "UvicornH11Worker", "UvicornWorker"]

UvicornWorker, UvicornH11Worker = FastserveWorker, FastserveH11Worker  # by uvicorn's names
