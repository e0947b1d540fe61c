"""The few words of ASGI that the demo's handlers share: types, one way to read a body, one way to answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Fields = Iterable[tuple[bytes, bytes]]

TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"
JSON = b"application/json"

# Each answer is about one request at one moment, and the types given are meant.
COMMON = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class ClientGone(Exception):
    """The client left before its request was complete; there is nobody to answer."""


def field(scope: Scope, name: bytes) -> str:
    """The first value of a request header, "" when the request has none; `name` is lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return ""


def wants_html(scope: Scope) -> bool:
    """Whether the client is one that shows HTML to a person, by its Accept header."""
    return "text/html" in field(scope, b"accept").lower()


async def read_body(receive: Receive) -> AsyncIterator[bytes]:
    """The request body piece by piece as it arrives; raises ClientGone when it ends too early."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def respond(
    scope: Scope, send: Send, status: int, body: str, content_type: bytes = TEXT, fields: Fields = ()
) -> None:
    """Sends one complete response; for HEAD the same header fields and no body (RFC 9110, section 9.3.2)."""
    payload = body.encode()
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(payload)).encode()),
        *COMMON,
        *fields,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else payload})
