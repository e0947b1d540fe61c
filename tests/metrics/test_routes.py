"""The route of a request, as frameworks have found it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import litestar
import pytest
import support
from fastapi import APIRouter, FastAPI
from metrics.scraping import Scrape
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from fastserve.metrics.exposition import render
from fastserve.metrics.pages import Totals, of_process


async def ok(request: Any) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def passed_on(request: Any, call_next: Any) -> Any:
    return await call_next(request)


def starlette() -> Starlette:
    mounted = Mount("/inner", routes=[Route("/deep/{item}", ok)])
    middleware = [Middleware(BaseHTTPMiddleware, dispatch=passed_on)]
    return Starlette(routes=[Route("/s/{item}", ok), mounted], middleware=middleware)


def fastapi() -> FastAPI:
    app = FastAPI()
    router = APIRouter(prefix="/api")

    @router.get("/f/{item}")
    def get(item: int) -> int:
        return item

    app.include_router(router)
    return app


def with_litestar() -> litestar.Litestar:
    @litestar.get("/l/{item:int}")
    async def get() -> str:
        return "ok"

    return litestar.Litestar([get])


@pytest.mark.parametrize(
    ("make", "path", "route"),
    [
        (starlette, "/s/7", "/s/{item}"),
        (starlette, "/inner/deep/7", "/inner/deep/{item}"),
        (starlette, "/none", "unmatched"),
        (fastapi, "/api/f/7", "/api/f/{item}"),
        (fastapi, "/api/f/x", "/api/f/{item}"),
        (with_litestar, "/l/7", "/l/{item}"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_route(serve: support.Serve, make: Callable[[], Any], path: str, route: str) -> None:
    before = count(route)
    server = serve(make(), metrics_routes=True)
    server.fetch(path)
    server.go_round()
    assert count(route) == before + 1


def count(route: str) -> float:
    totals = Totals()
    totals.add(of_process().read())
    text = render({0: totals}, {}, openmetrics=False, options={"metrics_routes"}, per_worker=False)
    return Scrape(text).value("fastserve_route_requests_total", method="GET", route=route)
