"""Applications and worker classes that gunicorn serves in tests."""

from __future__ import annotations

import asyncio
import atexit
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fastserve.workers import FastserveWorker, FastserveWSGIWorker

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def say(text: str) -> None:
    print(text, flush=True)


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    if os.environ.get("START") == "slow":
        await asyncio.sleep(float(os.environ["SECONDS"]))
    elif os.environ.get("START") == "failing":
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        return
    elif os.environ.get("START") == "quit":
        os.kill(os.getpid(), signal.SIGQUIT)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("application: shutdown")
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the process's id; /block and /hang do not, /gate when somebody opens the pipe that $GATE names."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path = scope["path"].removeprefix(scope["root_path"])
    if path == "/fail":
        raise RuntimeError("the application failed")
    if path == "/block":
        say("application: blocking")
        threading.Event().wait()
    elif path == "/hang":
        say("application: hanging")
        await asyncio.Event().wait()
    elif path == "/gate":
        say("application: working")
        await asyncio.get_running_loop().run_in_executor(None, Path(os.environ["GATE"]).read_bytes)
    elif path == "/child":
        atexit.register(say, f"application: exit handler in {os.getpid()}")
        child = multiprocessing.get_context("fork").Process(target=threading.Event().wait)
        child.start()
        child.terminate()
        await asyncio.get_running_loop().run_in_executor(None, child.join)
        say(f"application: child ended with {child.exitcode}")
    body = f"{os.getpid()} {scope['path']}".encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"x-app", b"here")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the scheme, the client's address, and what the certificate that the client showed is for."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    tls = scope["extensions"].get("tls", {})
    body = json.dumps([scope["scheme"], scope["client"][0], tls.get("client_cert_name")]).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def starlette_lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    if os.environ.get("END") == "never":
        await asyncio.Event().wait()
    await asyncio.sleep(0.01)
    say("application: shutdown")


released = asyncio.Event()


async def hang(request: Request) -> Response:
    say("application: hanging")
    await asyncio.Event().wait()
    return Response()


async def until_the_client_leaves(request: Request) -> Response:
    """Answer a client that is gone, as an endpoint does that notices nothing."""
    say("application: waiting")
    while not await request.is_disconnected():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    say("application: answering nobody")
    return PlainTextResponse("too late")


async def notice(request: Request) -> Response:
    """End by an exception once the client is gone."""
    say("application: waiting")
    while True:
        if (await request.receive())["type"] == "http.disconnect":
            say("application: noticed")
            raise RuntimeError("no client")


async def background(request: Request) -> Response:
    return PlainTextResponse("answer", background=BackgroundTask(released.wait))


async def release(request: Request) -> Response:
    released.set()
    return PlainTextResponse("released")


starlette = Starlette(
    lifespan=starlette_lifespan,
    routes=[
        Route("/hang", hang),
        Route("/leave", until_the_client_leaves),
        Route("/notice", notice),
        Route("/background", background),
        Route("/release", release),
    ],
)


def show_environ(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [json.dumps([environ[name] for name in ("wsgi.url_scheme", "REMOTE_ADDR")]).encode()]


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    flags = [environ["wsgi.multithread"], environ["wsgi.multiprocess"]]
    return [f"{threading.current_thread().name} {flags}".encode()]


class RedirectingWorker(FastserveWorker):
    CONFIG_KWARGS = {**FastserveWorker.CONFIG_KWARGS, "ssl_redirect": os.environ.get("REDIRECT")}  # noqa: RUF012


class RootedWorker(FastserveWorker):
    CONFIG_KWARGS = {**FastserveWorker.CONFIG_KWARGS, "root_path": "/api", "loop": "asyncio"}  # noqa: RUF012


class WrongWorker(FastserveWorker):
    CONFIG_KWARGS = {"loop": "nonsense"}  # noqa: RUF012


class WSGIWorker(FastserveWSGIWorker):
    """Under another name."""


class CountingLogger(Logger):  # type: ignore[misc,unused-ignore]
    """A logger that does something else with what it is told."""

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        say(f"logger: {resp.status} {resp.sent} {environ['RAW_URI']} {dict(resp.headers)['x-app']} {len(req.headers)}")


class FailingLogger(Logger):  # type: ignore[misc,unused-ignore]
    """A logger with a fault."""

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        raise ValueError("no log")
