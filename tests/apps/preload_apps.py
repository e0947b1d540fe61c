"""An application for the tests of --preload: what its import leaves must be right in every worker."""

from __future__ import annotations

import atexit
import os
import random
import signal
import sys
import threading
from typing import Any

from fastserve import metrics

WORDS = os.environ.get("PRELOAD", "").split()

print(f"imported in {os.getpid()}", flush=True)
print("not flushed")  # and must be printed once
atexit.register(lambda: print(f"left {os.getpid()}", flush=True))
random.seed(1)
imports = metrics.counter("imports", "Imports, as each worker has it.")
requests = metrics.counter("own_requests", "Requests.")
imports.add()

if "thread" in WORDS:
    threading.Thread(target=threading.Event().wait, name="made by the import").start()
if "handler" in WORDS:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))


async def app(scope: Any, receive: Any, send: Any) -> None:
    requests.add()
    text = f"{os.getpid()} {random.random()} {scope.get('state', {}).get('request_id')}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


def made() -> Any:
    """A factory."""
    print(f"made in {os.getpid()}", flush=True)
    if "factory-thread" in WORDS:
        threading.Thread(target=threading.Event().wait, name="made by the factory", daemon=True).start()
    return app
