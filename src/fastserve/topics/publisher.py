"""An ASGI application by which other programs publish over HTTP."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import parse_qs

from fastserve.topics.checks import names_of
from fastserve.topics.publishing import limit, publish


def publisher(*, token: str) -> Any:
    """Return an application to mount: POST with `topic` in the query publishes the body, once for each `topic` there.

    It requires `Authorization: Bearer TOKEN`. A body with `Content-Type: application/octet-stream` is published as
    bytes, any other as text. `event`, `history` and `ttl` may be in the query as well. The response is 204, 400, 401,
    405 or 413.
    """
    if not token:
        raise ValueError("publisher() needs a token")
    expected = f"Bearer {token}".encode()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the publisher of topics serves HTTP, not {scope['type']!r}")
        headers = {name.lower(): value for name, value in scope["headers"]}
        if not hmac.compare_digest(headers.get(b"authorization", b""), expected):
            await respond(send, 401, "the token is missing or wrong", (b"www-authenticate", b"Bearer"))
            return
        if scope["method"] != "POST":
            await respond(send, 405, "expected POST", (b"allow", b"POST"))
            return
        body = await body_of(receive, limit())
        if body is None:
            await respond(send, 413, "the message is too large")
            return
        try:
            take(parse_qs(scope["query_string"].decode(), keep_blank_values=True), headers, body)
        except (TypeError, ValueError) as exc:
            await respond(send, 400, str(exc))
            return
        await respond(send, 204, "")

    return application


def take(query: dict[str, list[str]], headers: dict[bytes, bytes], body: bytes) -> None:
    names = names_of(query.get("topic", ()))
    binary = headers.get(b"content-type", b"").startswith(b"application/octet-stream")
    ttl = query.get("ttl")
    publish(
        names,
        body if binary else body.decode(),
        event=query.get("event", [None])[0],
        history=int(query.get("history", ["0"])[0]),
        ttl=None if ttl is None else float(ttl[0]),
    )


async def body_of(receive: Any, most: int) -> bytes | None:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body"):
            return body


async def respond(send: Any, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    body = text.encode()
    fields = [*headers] if status == 204 else [*headers, (b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
