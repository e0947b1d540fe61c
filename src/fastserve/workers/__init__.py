"""Worker classes for gunicorn: `gunicorn -k fastserve.workers.FastserveWorker module:app`."""

from __future__ import annotations

from fastserve._compat import asyncio_run
from fastserve.config import Config
from fastserve.server import Server
from fastserve.workers.worker import FastserveH11Worker, FastserveWorker, FastserveWSGIWorker

__all__ = [
    "Config",
    "FastserveH11Worker",
    "FastserveWSGIWorker",
    "FastserveWorker",
    "Server",
    "UvicornH11Worker",
    "UvicornWorker",
    "asyncio_run",
]

UvicornWorker, UvicornH11Worker = FastserveWorker, FastserveH11Worker  # by uvicorn's names
