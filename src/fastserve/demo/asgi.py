"""The bits of ASGI that the demo's handlers share: types, reading a body, sending a response."""

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

# Each response is for one request at one moment, and its Content-Type is meant literally.
COMMON = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class ClientGone(Exception):
    """The client left before its request was complete, so there is nobody to respond to."""


def field(scope: Scope, name: bytes) -> str:
    """Return the first value of a request header, or "". `name` is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return ""


def wants_html(scope: Scope) -> bool:
    """Return whether the client shows HTML to a person, judging by its Accept header."""
    return "text/html" in field(scope, b"accept").lower()


async def read_body(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the request body piece by piece as it arrives. Raises ClientGone if it ends too early."""
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
    """Send one complete response; for HEAD the same header fields and no body (RFC 9110, section 9.3.2)."""
    payload = body.encode()
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(payload)).encode()),
        *COMMON,
        *fields,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else payload})
