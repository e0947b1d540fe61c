"""A Starlette application: streams, files, server-sent events, middleware, mounts, and what goes wrong in them."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict

from compat.apps.events import Events
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

events = Events()
release = asyncio.Event()
FILES = Path(os.environ["COMPAT_FILES"])


class State(TypedDict):
    started: list[str]


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    yield {"started": ["once"]}
    print("lifespan: closed", flush=True)


class Timing(BaseHTTPMiddleware):
    """The middleware that runs the application in a task of its own and streams its response through."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-base-middleware"] = "passed"
        return response


async def about(request: Request) -> Response:
    return JSONResponse(
        {
            "url": str(request.url),
            "base_url": str(request.base_url),
            "path": request.scope["path"],
            "root_path": request.scope["root_path"],
            "client": request.client.host if request.client else None,
            "http_version": request.scope["http_version"],
            "link": str(request.url_for("about")),
            "started": request.state.started,
        }
    )


async def numbers(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"{number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def numbers_in_thread(request: Request) -> Response:
    def lines() -> Iterator[str]:
        for number in range(100):
            yield f"{number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def two_halves(request: Request) -> Response:
    """The second half is made only after the client has told us, elsewhere, that it has the first."""

    async def halves() -> AsyncIterator[bytes]:
        yield b"first half\n"
        await events.wait("first half read")
        yield b"second half\n"

    return StreamingResponse(halves(), media_type="text/plain")


async def broken_stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        yield b"so far so good\n"
        raise RuntimeError("the stream broke")

    return StreamingResponse(lines(), media_type="text/plain")


async def sse(request: Request) -> Response:
    async def ticks() -> AsyncIterator[str]:
        try:
            for number in itertools.count():
                yield f"id: {number}\ndata: tick\n\n"
                await asyncio.sleep(0.005)
        finally:
            events.fire(request.query_params["name"])

    return StreamingResponse(ticks(), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def long_poll(request: Request) -> Response:
    events.fire("long poll began")
    while not await request.is_disconnected():
        await asyncio.sleep(0.005)
    events.fire("long poll abandoned")
    return Response(status_code=204)


async def half_upload(request: Request) -> Response:
    try:
        async for piece in request.stream():
            if piece:
                events.fire("upload began")
    except ClientDisconnect:
        events.fire("upload abandoned")
        raise
    return Response(status_code=204)


async def file(request: Request) -> Response:
    return FileResponse(FILES / "large.bin", filename="large.bin")


async def background(request: Request) -> Response:
    async def wait_for_release() -> None:
        await release.wait()
        events.fire("background done")

    return PlainTextResponse("delivered", background=BackgroundTask(wait_for_release))


async def release_background(request: Request) -> Response:
    release.set()
    return PlainTextResponse("released")


async def failing_background(request: Request) -> Response:
    async def fail() -> None:
        raise RuntimeError("the background task broke")

    return PlainTextResponse("delivered", background=BackgroundTask(fail))


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type=request.headers.get("content-type"))


async def digest(request: Request) -> Response:
    form = await request.form()
    upload = form["file"]
    assert not isinstance(upload, str)
    return JSONResponse({"size": upload.size, "sha256": hashlib.sha256(await upload.read()).hexdigest()})


async def status(request: Request) -> Response:
    return Response(status_code=request.path_params["code"])


async def large_text(request: Request) -> Response:
    return PlainTextResponse("compress me " * 5000)


async def boom(request: Request) -> Response:
    raise RuntimeError("the endpoint broke")


async def cancel_itself(request: Request) -> Response:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return PlainTextResponse("not reached")


async def wait(request: Request) -> Response:
    await events.wait(request.path_params["name"])
    return PlainTextResponse(request.path_params["name"])


async def fire(request: Request) -> Response:
    await request.body()
    events.fire(request.path_params["name"])
    return PlainTextResponse(request.path_params["name"])


async def not_found(request: Request, error: Exception) -> Response:
    return JSONResponse({"nothing at": request.url.path}, status_code=404)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/about", about, name="about"),
        Route("/numbers", numbers),
        Route("/numbers/thread", numbers_in_thread),
        Route("/two-halves", two_halves),
        Route("/broken-stream", broken_stream),
        Route("/sse", sse),
        Route("/long-poll", long_poll),
        Route("/half-upload", half_upload, methods=["POST"]),
        Route("/file", file),
        Route("/background", background),
        Route("/background/release", release_background, methods=["POST"]),
        Route("/background/fail", failing_background),
        Route("/echo", echo, methods=["POST", "PUT"]),
        Route("/digest", digest, methods=["POST"]),
        Route("/status/{code:int}", status),
        Route("/large-text", large_text),
        Route("/boom", boom),
        Route("/cancel-itself", cancel_itself),
        Route("/wait/{name}", wait),
        Route("/fire/{name}", fire, methods=["POST"]),
        Mount("/static", StaticFiles(directory=FILES)),
        Mount("/below", routes=[Route("/about", about)]),
    ],
    middleware=[
        Middleware(CORSMiddleware, allow_origins=["https://example.org"], allow_methods=["PUT"], max_age=60),
        Middleware(GZipMiddleware, minimum_size=1000),
    ],
    exception_handlers={404: not_found},
)

# The same application behind the middleware that most applications put in front of theirs.
wrapped = Starlette(routes=[Mount("/", app)], middleware=[Middleware(Timing)], lifespan=lifespan)

debugging = Starlette(debug=True, routes=[Route("/boom", boom), Route("/about", about, name="about")])
