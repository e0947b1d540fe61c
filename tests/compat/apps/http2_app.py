"""What clients of HTTP/2 ask for: bodies both ways, events, and gRPC by trailers."""

from __future__ import annotations

import asyncio
from typing import Any

EVENTS = 3


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    headers = dict(scope["headers"])
    if headers.get(b"content-type", b"").startswith(b"application/grpc"):
        await grpc(scope, receive, send)
    elif scope["path"] == "/echo":
        await echo(receive, send)
    elif scope["path"] == "/events":
        await events(send)
    elif scope["path"].startswith("/size/"):
        await respond(send, bytes(int(scope["path"][6:])))
    else:
        await respond(send, f"{scope['method']} {scope['path']} {scope['http_version']}".encode())


async def respond(send: Any, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


async def echo(receive: Any, send: Any) -> None:
    """Send back each piece as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def events(send: Any) -> None:
    fields = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    for number in range(EVENTS):
        await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def grpc(scope: Any, receive: Any, send: Any) -> None:
    """Echo messages: one for /echo.Echo/Unary, each as it comes for /echo.Echo/Stream; /echo.Echo/Fail fails."""
    fields = [(b"content-type", b"application/grpc")]
    await send({"type": "http.response.start", "status": 200, "headers": fields, "trailers": True})
    rest, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        rest += message["body"]
        while len(rest) >= 5 and len(rest) >= 5 + int.from_bytes(rest[1:5], "big"):
            end = 5 + int.from_bytes(rest[1:5], "big")
            if scope["path"] != "/echo.Echo/Fail":
                await send({"type": "http.response.body", "body": rest[:end], "more_body": True})
            rest = rest[end:]
    await send({"type": "http.response.body", "body": b""})
    failed = scope["path"] == "/echo.Echo/Fail"
    status = [(b"grpc-status", b"3"), (b"grpc-message", b"as asked")] if failed else [(b"grpc-status", b"0")]
    await send({"type": "http.response.trailers", "headers": status})
