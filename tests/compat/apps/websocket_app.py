"""A WebSocket application without a framework: what real clients ask of a server, an address each."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECE = b"0123456789abcdef" * 4096
PIECES = 320


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        return
    assert (await receive())["type"] == "websocket.connect"
    await ROUTES[scope["path"]](scope, receive, send)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
    print(f"echo ended: {message['code']} {message.get('reason')!r}", flush=True)


async def about(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts the last subprotocol offered, with a header, and tells what the handshake came to."""
    headers = [(b"x-from-the-application", b"yes"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    chosen = scope["subprotocols"][-1] if scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": chosen, "headers": headers})
    told = {key: scope[key] for key in ("scheme", "path", "subprotocols", "http_version")}
    told["query_string"] = scope["query_string"].decode()
    told["origin"] = dict(scope["headers"]).get(b"origin", b"").decode()
    told["client"] = scope["client"][0]
    await send({"type": "websocket.send", "text": json.dumps(told)})
    await receive()


async def deny(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"text/plain"), (b"x-why", b"not you")]
    await send({"type": "websocket.http.response.start", "status": 402, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"pay ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"first"})


async def reject(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})


async def leave(scope: Scope, receive: Receive, send: Send) -> None:
    """Says one thing and closes."""
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "that was all"})
    await send({"type": "websocket.close", "code": 4002, "reason": "geschloßen"})


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    await receive()
    raise RuntimeError("the application is broken")


async def push(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends 20 MiB in messages that nobody asked for."""
    await send({"type": "websocket.accept"})
    for _ in range(PIECES):
        await send({"type": "websocket.send", "bytes": PIECE})
    await send({"type": "websocket.close"})


ROUTES = {
    "/echo": echo,
    "/about": about,
    "/deny": deny,
    "/reject": reject,
    "/leave": leave,
    "/fail": fail,
    "/push": push,
}
