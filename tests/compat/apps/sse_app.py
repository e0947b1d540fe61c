"""Events by sse-starlette, which ends its streams when it learns from the server's signal handler that it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette.sse import AppStatus, EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def numbers() -> AsyncIterator[dict[str, Any]]:
    yield {"data": "first"}
    await asyncio.Event().wait()


async def events(request: Request) -> EventSourceResponse:
    return EventSourceResponse(numbers())


async def patched(request: Request) -> JSONResponse:
    """Return whether this server's class is the one that sse-starlette has patched."""
    import fastserve

    return JSONResponse(fastserve.Server.handle_exit == AppStatus.handle_exit)


app = Starlette(routes=[Route("/events", events), Route("/patched", patched)])
