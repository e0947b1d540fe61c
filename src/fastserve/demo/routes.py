"""The application itself: which handler serves which address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastserve.demo import pages
from fastserve.demo.asgi import ClientGone, Receive, Scope, Send
from fastserve.demo.echo import echo, reject, without_upgrade
from fastserve.demo.lifespan import count, lifespan
from fastserve.demo.room import room
from fastserve.demo.stream import stream
from fastserve.demo.upload import upload

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Route:
    """A handler and its methods; with `below` it also serves every address under the route's own."""

    handler: Handler
    methods: tuple[str, ...] = ("GET", "HEAD")
    below: bool = False


ROUTES = {
    "/": Route(pages.show_page),
    "/request": Route(pages.show_page, below=True),
    "/json": Route(pages.show_json, below=True),
    "/stream": Route(stream),
    "/upload": Route(upload, methods=("POST", "PUT")),
    "/echo": Route(without_upgrade),
    "/room": Route(without_upgrade),
}
WEBSOCKETS: dict[str, Handler] = {"/echo": echo, "/room": room}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The demo as an ASGI 3 application, for HTTP, WebSocket and lifespan."""
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await WEBSOCKETS.get(_path(scope), reject)(scope, receive, send)
    elif scope["type"] == "http":
        await _http(scope, receive, send)
    else:
        raise ValueError(f"the demo has nothing for scope type {scope['type']!r}")


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    name, route = _find(_path(scope))
    count(scope, name)
    if route is None:
        await pages.refuse(scope, send, 404, "There is nothing at this address.")
    elif scope["method"] not in route.methods:
        allow = ", ".join(route.methods)
        text = f"{scope['method']} is not possible here; {allow} is."
        await pages.refuse(scope, send, 405, text, ((b"allow", allow.encode()),))
    else:
        try:
            await route.handler(scope, receive, send)
        except ClientGone:
            return


def _find(path: str) -> tuple[str, Route | None]:
    if path in ROUTES:
        return path, ROUTES[path]
    for name, route in ROUTES.items():
        if route.below and path.startswith(name + "/"):
            return name, route
    return "not found", None


def _path(scope: Scope) -> str:
    """Return the path below the mount point; `path` includes `root_path` (ASGI, HTTP connection scope)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    return path or "/"
