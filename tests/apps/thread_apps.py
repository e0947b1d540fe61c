"""Applications whose workers are threads: each response is the number of the thread that serves it."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from fastserve import metrics, topics

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

served = metrics.counter("served", "Requests that the application has seen.")


def say(text: str) -> None:
    print(text, flush=True)


say(f"imported in {os.getpid()}")


def block() -> None:
    """Hold up the event loop until somebody opens the pipe that $GATE names for writing."""
    say(f"blocking in {threading.get_native_id()}")
    Path(os.environ["GATE"]).read_bytes()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    number = threading.get_native_id()
    if scope["type"] == "lifespan":
        await receive()
        say(f"startup in {number}")
        scope["state"]["number"] = number
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say(f"shutdown in {number}")
        await send({"type": "lifespan.shutdown.complete"})
        return
    served.add()
    if scope["path"] == "/block":
        block()
    body = b"%d" % number if scope.get("state", {}).get("number", number) == number else b"another's state"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def factory() -> Any:
    say("made")
    return app


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "not today"})


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = b"%r %r" % (environ["wsgi.multithread"], environ["wsgi.multiprocess"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def publishing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-thread", b"%d" % threading.get_native_id())]})
        await topics.subscribe(send, "room")
        await send({"type": "websocket.send", "text": "subscribed"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif scope["type"] == "http":
        topics.publish("room", "news")
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})
