"""One stream, one background task and the same failures, written with each of many frameworks, below /NAME/.

Every address takes `name`, that of the request, and `kind`, what its stream does: "before" waits for ever before its
first event, "quiet" after it, "late" and "told" do so until the event "go", "busy" goes on sending. "item" and "burst"
have something to send, one event or ten, in the very turn in which they learn that the client has gone, and then wait.
What happens is told to GET /wait/EVENT:ID; "closed at once" is that a stream was closed within its own task.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any
from urllib.parse import parse_qs

import a2wsgi
import fastapi
import fastapi.responses
import litestar
import litestar.response
import quart
from asgiref.wsgi import WsgiToAsgi
from compat.apps.events import Events
from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.http import StreamingHttpResponse  # type: ignore[import-untyped]
from django.urls import path as django_path  # type: ignore[import-untyped]
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

events = Events()
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


async def stream(identity: str, kind: str) -> AsyncIterator[str]:
    events.fire(f"entered:{identity}")
    task = asyncio.current_task()
    try:
        if kind not in ("before", "late"):
            yield "data: first\n\n"
        if kind in ("late", "told"):
            await events.wait(f"go:{identity}")
        while kind in ("late", "told", "busy"):
            yield "data: more\n\n"
            await asyncio.sleep(0.005)
        if kind in ("item", "burst"):
            await events.wait(f"left:{identity}")
            for _ in range(10 if kind == "burst" else 1):
                yield "data: more\n\n"
        await asyncio.Event().wait()
    finally:
        if asyncio.current_task() is task:
            events.fire(f"closed at once:{identity}")
        events.fire(f"closed:{identity}")


async def work(identity: str) -> None:
    """What an application does after its response."""
    events.fire(f"working:{identity}")
    await events.wait(f"go:{identity}")
    await asyncio.sleep(0.3)  # longer than a server takes to stop that does not wait
    print(f"committed {identity}", flush=True)
    events.fire(f"committed:{identity}")


def asked(request: Request) -> tuple[str, str]:
    return request.query_params["name"], request.query_params.get("kind", "quiet")


# Starlette


async def starlette_stream(request: Request) -> Response:
    return StreamingResponse(stream(*asked(request)), media_type="text/event-stream")


async def starlette_events(request: Request) -> Response:
    """Events by sse-starlette."""

    async def data() -> AsyncIterator[dict[str, str]]:
        async for _ in stream(*asked(request)):
            yield {"data": "first"}

    return EventSourceResponse(data())


async def starlette_slow(request: Request) -> Response:
    """Answer only when told to, with work after the response."""
    identity, _ = asked(request)
    events.fire(f"entered:{identity}")
    await events.wait(f"answer:{identity}")
    return PlainTextResponse("answer", background=BackgroundTask(work, identity))


async def starlette_background(request: Request) -> Response:
    return PlainTextResponse("answer", background=BackgroundTask(work, asked(request)[0]))


async def starlette_body(request: Request) -> Response:
    events.fire(f"entered:{asked(request)[0]}")
    return PlainTextResponse(str(len(await request.body())))


async def in_handler(request: Request) -> Response:
    raise ZeroDivisionError("in the handler")


async def in_background(request: Request) -> Response:
    def fail() -> None:
        raise ZeroDivisionError("in the background")

    return PlainTextResponse("answer", background=BackgroundTask(fail))


async def in_stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[str]:
        yield "first"
        raise ZeroDivisionError("in the stream")

    return StreamingResponse(pieces())


async def cancelled(request: Request) -> Response:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future
    return PlainTextResponse("not reached")


async def any_error(request: Request, error: Exception) -> Response:
    """Told of every error that leaves an application."""
    print(f"handler called for {type(error).__name__}", flush=True)
    return PlainTextResponse("handled", status_code=500)


class Passes(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


class Fails(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        await call_next(request)
        raise ZeroDivisionError("in the middleware")


def starlette_app(*middleware: type[BaseHTTPMiddleware]) -> Starlette:
    return Starlette(
        routes=[
            Route("/stream", starlette_stream),
            Route("/events", starlette_events),
            Route("/slow", starlette_slow),
            Route("/background", starlette_background),
            Route("/body", starlette_body, methods=["GET", "POST"]),
            Route("/in-handler", in_handler),
            Route("/in-background", in_background),
            Route("/in-stream", in_stream),
            Route("/cancelled", cancelled),
        ],
        middleware=[Middleware(each) for each in middleware],
        exception_handlers={Exception: any_error},
    )


# FastAPI

fastapi_app = fastapi.FastAPI()


async def session(name: str) -> AsyncIterator[str]:
    """A dependency with something to give back."""
    try:
        yield name
    finally:
        events.fire(f"given back:{name}")


async def fails_before() -> str:
    raise ZeroDivisionError("in the dependency")


async def fails_behind() -> AsyncIterator[str]:
    yield "value"
    raise ZeroDivisionError("behind the response")


Session = Annotated[str, fastapi.Depends(session)]


@fastapi_app.get("/stream")
async def fastapi_stream(name: Session, kind: str) -> Response:
    return fastapi.responses.StreamingResponse(stream(name, kind), media_type="text/event-stream")


@fastapi_app.get("/background")
async def fastapi_background(name: Session, tasks: fastapi.BackgroundTasks) -> str:
    tasks.add_task(work, name)
    return "answer"


@fastapi_app.get("/in-dependency")
async def in_dependency(value: Annotated[str, fastapi.Depends(fails_before)]) -> str:
    return value


@fastapi_app.get("/behind-response")
async def behind_response(value: Annotated[str, fastapi.Depends(fails_behind)]) -> str:
    return value


@fastapi_app.get("/in-handler")
async def fastapi_in_handler() -> str:
    raise ZeroDivisionError("in the handler")


@fastapi_app.get("/in-background")
async def fastapi_in_background(tasks: fastapi.BackgroundTasks) -> str:
    def fail() -> None:
        raise ZeroDivisionError("in the background")

    tasks.add_task(fail)
    return "answer"


# Django


async def django_stream(request: Any) -> Any:
    pieces = stream(request.GET["name"], request.GET["kind"])
    return StreamingHttpResponse(pieces, content_type="text/event-stream")


urlpatterns = [django_path("stream", django_stream)]
settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="secret", ALLOWED_HOSTS=["*"], USE_TZ=True)
django_app = get_asgi_application()

# Quart

quart_app = quart.Quart(__name__)


@quart_app.get("/stream")
async def quart_stream() -> Any:
    source = stream(quart.request.args["name"], quart.request.args["kind"])
    response: Any = await quart.make_response(source)
    response.timeout = None
    return response


# Litestar


@litestar.get("/stream")
async def litestar_stream(name: str, kind: str) -> litestar.response.Stream:
    return litestar.response.Stream(stream(name, kind), media_type="text/event-stream")


@litestar.get("/events")
async def litestar_events(name: str, kind: str) -> litestar.response.ServerSentEvent:
    async def data() -> AsyncIterator[str]:
        async for _ in stream(name, kind):
            yield "first"

    return litestar.response.ServerSentEvent(data())


litestar_app = litestar.Litestar([litestar_stream, litestar_events])

# WSGI


def wsgi_app(environ: Any, start_response: Any) -> Iterator[bytes]:
    """A long page, piece by piece."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(20):
        yield b"first" * 1000
        time.sleep(0.005)


# Without a framework


async def plain_watches(scope: Any, receive: Any, send: Any) -> None:
    """Send events until the client goes, as receive() tells it."""
    identity, kind = (parse_qs(scope["query_string"].decode())[key][0] for key in ("name", "kind"))
    source = stream(identity, kind)

    async def send_all() -> None:
        await send(START)
        async for event in source:
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})

    task = asyncio.ensure_future(send_all())
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()


async def plain_begins(send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})


async def plain_ignores(scope: Any, receive: Any, send: Any) -> None:
    """Notice nothing, and have no end."""
    await plain_begins(send)
    await asyncio.Event().wait()


async def plain_floods(scope: Any, receive: Any, send: Any) -> None:
    """Send without end, whoever listens."""
    await plain_begins(send)
    while True:
        await send({"type": "http.response.body", "body": b"data: more\n\n", "more_body": True})


async def plain_answers_twice(scope: Any, receive: Any, send: Any) -> None:
    """Answer a session that has ended, as the MCP SDK does."""
    identity = parse_qs(scope["query_string"].decode())["name"][0]
    events.fire(f"entered:{identity}")
    await plain_begins(send)
    while (await receive())["type"] != "http.disconnect":
        pass
    await send(START)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    events.fire(f"closed:{identity}")


async def plain_before(scope: Any, receive: Any, send: Any) -> None:
    raise ZeroDivisionError("before the response")


async def plain_between(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    raise ZeroDivisionError("behind the head")


async def plain_within(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    await asyncio.sleep(0)
    raise ZeroDivisionError("within the body")


async def plain_behind(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"answer"})
    raise ZeroDivisionError("behind the response")


PLAIN = {
    "/stream": plain_watches,
    "/ignores": plain_ignores,
    "/floods": plain_floods,
    "/twice": plain_answers_twice,
    "/before": plain_before,
    "/between": plain_between,
    "/within": plain_within,
    "/behind": plain_behind,
}


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await PLAIN[scope["path"]](scope, receive, send)


async def control(scope: Any, receive: Any, send: Any) -> None:
    """Wait for an event, or have it happen when all of the request has come."""
    while (await receive()).get("more_body"):
        pass
    _, verb, name = scope["path"].split("/")
    if verb == "fire":
        events.fire(name)
    waiting = asyncio.ensure_future(events.wait(name))
    for _ in range(100):
        if (await asyncio.wait([waiting], timeout=0.5))[0]:
            break
        if verb == "collect":
            gc.collect()
    status = 200 if waiting.done() else 504
    waiting.cancel()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


APPS: dict[str, Callable[..., Any]] = {
    "starlette": starlette_app(),
    "base": starlette_app(Passes),
    "failing": starlette_app(Fails),
    "fastapi": fastapi_app,
    "django": django_app,
    "quart": quart_app,
    "litestar": litestar_app,
    "a2wsgi": a2wsgi.WSGIMiddleware(wsgi_app, workers=2),
    "asgiref": WsgiToAsgi(wsgi_app),  # type: ignore[no-untyped-call]
    "plain": plain,
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise RuntimeError("http only")
    _, name, rest = scope["path"].split("/", 2)
    if name in ("wait", "collect", "fire"):
        await control(scope, receive, send)
    else:
        identity = parse_qs(scope["query_string"].decode()).get("name", [""])[0]

        async def watched() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect":
                events.fire(f"left:{identity}")
            return message

        await APPS[name]({**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}, watched, send)
