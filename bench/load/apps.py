"""The plain ASGI applications of the rows: as little Python as the protocol allows, so that the server is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HELLO = b"Hello, World!"
MEGABYTE = b"0123456789abcdef" * 65536
PIECE = b"0123456789abcdef" * 64
PIECES = 100
EXTRA_HEADERS = [(b"x-extra-%02d" % number, b"value of header %02d" % number) for number in range(18)]


def _head(length: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % length)]


_HELLO_HEAD = _head(len(HELLO))
_MEGABYTE_HEAD = _head(len(MEGABYTE))
_TWENTY_HEADERS = _HELLO_HEAD + EXTRA_HEADERS
_STREAM_HEAD = [(b"content-type", b"text/plain; charset=utf-8")]


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with 13 bytes of text."""
    if scope["type"] != "http":
        return await _lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": _HELLO_HEAD})
    await send({"type": "http.response.body", "body": HELLO})


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts and sends each message back as it came, text as text and bytes as bytes."""
    if scope["type"] != "websocket":
        return await _lifespan(receive, send)
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})


async def response_headers(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with 13 bytes of text and 20 headers."""
    if scope["type"] != "http":
        return await _lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": _TWENTY_HEADERS})
    await send({"type": "http.response.body", "body": HELLO})


async def suspend(scope: Scope, receive: Receive, send: Send) -> None:
    """Gives the loop a turn before it answers, as an application that waits for something does."""
    if scope["type"] != "http":
        return await _lifespan(receive, send)
    await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 200, "headers": _HELLO_HEAD})
    await send({"type": "http.response.body", "body": HELLO})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the request's body."""
    if scope["type"] != "http":
        return await _lifespan(receive, send)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        pieces = [body]
        while message.get("more_body", False):
            message = await receive()
            pieces.append(message.get("body", b""))
        body = b"".join(pieces)
    await send({"type": "http.response.start", "status": 200, "headers": _head(len(body))})
    await send({"type": "http.response.body", "body": body})


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the number of bytes in the request's body, none of which it keeps."""
    if scope["type"] != "http":
        return await _lifespan(receive, send)
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": _head(len(body))})
    await send({"type": "http.response.body", "body": body})


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with 100 pieces of 1 KiB each and no content-length."""
    if scope["type"] != "http":
        return await _lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEAD})
    for _ in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def big(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with one piece of 1 MiB."""
    if scope["type"] != "http":
        return await _lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": _MEGABYTE_HEAD})
    await send({"type": "http.response.body", "body": MEGABYTE})


async def fresh(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with one piece of 1 MiB that is made for this response."""
    if scope["type"] != "http":
        return await _lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": _MEGABYTE_HEAD})
    await send({"type": "http.response.body", "body": PIECE * (len(MEGABYTE) // len(PIECE))})


_WSGI_HEAD = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(HELLO)))]


def wsgi_hello(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answers with 13 bytes of text, as a WSGI application."""
    start_response("200 OK", _WSGI_HEAD)
    return [HELLO]


def wsgi_echo(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answers with the request's body, as a WSGI application."""
    body: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
