"""Clients that act once they have the head of a stream, whose first event comes of what they do then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import support
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


async def dispatch(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("kind", ["text/event-stream", "application/x-ndjson", "text/plain"])
@pytest.mark.parametrize(
    "middleware", [[], [Middleware(BaseHTTPMiddleware, dispatch=dispatch)]], ids=["", "middleware"]
)
def test_subscribe_then_trigger(serve: support.Serve, http: str, kind: str, middleware: list[Middleware]) -> None:
    triggered = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        await triggered.wait()
        yield b"event"

    async def subscribe(request: Request) -> Response:
        return StreamingResponse(events(), media_type=kind)

    async def trigger(request: Request) -> Response:
        triggered.set()
        return Response()

    routes = [Route("/subscribe", subscribe), Route("/trigger", trigger)]
    server = serve(Starlette(routes=routes, middleware=middleware), http=http)
    with (
        httpx.Client(base_url=server.url, timeout=support.PATIENCE, trust_env=False) as client,
        client.stream("GET", "/subscribe") as stream,
    ):
        assert stream.status_code == 200
        assert client.get("/trigger").status_code == 200
        assert stream.read() == b"event"
