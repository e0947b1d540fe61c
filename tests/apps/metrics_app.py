"""Applications whose metrics are tested."""

from __future__ import annotations

import os
from typing import Any

import fastserve.metrics

JOBS = fastserve.metrics.counter("jobs_total", "Jobs that were done.", kind="mail")
DEPTH = fastserve.metrics.gauge("depth", "How deep it is.")
SIZES = fastserve.metrics.histogram("sizes", "Sizes.", (1, 10))


class Route:
    """What a framework puts into the scope."""

    def __init__(self, path: str) -> None:
        self.path = path


ITEM = Route("/items/{id}")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Respond with the status that the path names, or do what it says."""
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["type"] == "http":
        special = SPECIAL.get(scope["path"], ordinary)
        await special(scope, receive, send)


async def ordinary(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"].startswith("/items/"):
        scope["route"] = ITEM
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    status = scope["path"][1:]
    await respond(send, int(status) if status.isdecimal() else 200, b"ok")


async def spin(scope: Any, receive: Any, send: Any) -> None:
    while True:
        pass


async def fail(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("on purpose")


async def missing(scope: Any, receive: Any, send: Any) -> None:
    pass


async def pid(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, 200, str(os.getpid()).encode())


async def half(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    raise ValueError("on purpose")


async def wait(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


async def job(scope: Any, receive: Any, send: Any) -> None:
    JOBS.add()
    DEPTH.set(3)
    SIZES.observe(5)
    await respond(send, 200, b"ok")


SPECIAL = {
    "/spin": spin,
    "/raise": fail,
    "/missing": missing,
    "/pid": pid,
    "/half": half,
    "/wait": wait,
    "/job": job,
}


async def respond(send: Any, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"ok"]
