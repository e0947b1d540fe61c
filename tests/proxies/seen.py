"""An application that says what it sees of a request, and the ways to ask it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import support
from websockets.sync.client import connect

# How a server is asked, with its options.
WAYS: dict[str, dict[str, Any]] = {
    "http1": {},
    "http2": {},
    "h11": {"http": "h11"},
    "wsgi": {"interface": "wsgi"},
    "websocket": {},
    "websocket-h11": {"http": "h11"},
    "websocket-library": {"ws": "websockets"},
    "uvicorn": {"http": "uvicorn.protocols.http.h11_impl:H11Protocol"},
    "websocket-uvicorn": {"ws": "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"},
}


def seen_in(scope: Any) -> dict[str, Any]:
    seen = {name: scope[name] for name in ("client", "server", "scheme", "path", "root_path")}
    return {
        **seen,
        "extensions": scope.get("extensions", {}),
        "host": dict(scope["headers"]).get(b"host", b"").decode(),
    }


async def app(scope: Any, receive: Any, send: Any) -> None:
    text = json.dumps(seen_in(scope), default=lambda value: value.hex())
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text.encode()})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    client = environ.get("REMOTE_ADDR") and [environ["REMOTE_ADDR"], int(environ.get("REMOTE_PORT", 0))]
    root, server = environ["SCRIPT_NAME"], [environ["SERVER_NAME"], int(environ["SERVER_PORT"])]
    seen = {"client": client, "server": server, "scheme": environ["wsgi.url_scheme"], "root_path": root,
            "path": root + environ["PATH_INFO"], "host": environ.get("HTTP_HOST", ""), "extensions": {}}  # fmt: skip
    return [json.dumps(seen).encode()]


def started(serve: Any, way: str, **options: Any) -> Any:
    """Start a server for a way, with the lifespan off."""
    return serve(wsgi if way == "wsgi" else app, **{"lifespan": "off", **WAYS[way], **options})


def ask(running: Any, way: str, headers: dict[str, str], path: str = "/p") -> httpx.Response:
    """Ask a server; a handshake that is refused has a response as well, and what an application sends is its text."""
    host, port = running.address[:2]
    if way.startswith("websocket"):
        from websockets.exceptions import InvalidStatus

        extra = {name: value for name, value in headers.items() if name.lower() != "host"}
        own = headers.get("Host", f"{host}:{port}")
        sock = running.connect()
        try:
            with connect(f"ws://{own}{path}", sock=sock, additional_headers=extra, proxy=None) as websocket:
                return httpx.Response(200, text=str(websocket.recv(support.PATIENCE)))
        except InvalidStatus as refused:
            return httpx.Response(refused.response.status_code)
    with httpx.Client(http1=way != "http2", http2=way == "http2", timeout=support.PATIENCE, trust_env=False) as client:
        return client.get(f"http://{host}:{port}{path}", headers=headers)


def seen(running: Any, way: str, headers: dict[str, str], path: str = "/p") -> dict[str, Any]:
    response = ask(running, way, headers, path)
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    found["scheme"] = found["scheme"].replace("ws", "http")
    return found
