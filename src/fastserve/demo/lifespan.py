"""What the demo keeps from startup to shutdown: the lifespan state, which the page shows."""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from datetime import datetime, timezone

from fastserve.demo.asgi import Receive, Scope, Send


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Fill scope["state"] at startup: when, on what, and a counter of requests by address."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            if "state" in scope:
                loop = type(asyncio.get_running_loop())
                scope["state"].update(
                    started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                    python=f"{platform.python_implementation()} {platform.python_version()}",
                    event_loop=f"{loop.__module__}.{loop.__qualname__}",
                    requests=Counter(),
                )
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


def count(scope: Scope, route: str) -> None:
    """Count a request under its route. Each request's state is a copy, but the counter in it is the same object."""
    requests = scope.get("state", {}).get("requests")
    if isinstance(requests, Counter):
        requests[route] += 1
