"""The access log under gunicorn, written by gunicorn's logger in its format."""

from __future__ import annotations

import datetime
import time
from typing import Any

from fastserve._core.wsgi.environ import Environs
from fastserve._types import ASGI3Application, Message, Receive, Scope, Send

ENDS = ("http.response.body", "http.response.zerocopysend", "http.response.pathsend")


class Request:
    """What gunicorn's logger reads of a request besides its environ."""

    def __init__(self, scope: Scope) -> None:
        self.headers = text_headers(scope["headers"])


class Response:
    """What gunicorn's logger reads of a response."""

    def __init__(self) -> None:
        self.status = 500  # until the application sends another
        self.headers: list[tuple[str, str]] = []
        self.sent = 0  # bytes of the body
        self.reached = False  # the client was connected when a part of it was sent
        self.complete = False

    def note(self, message: Message, reachable: bool) -> bool:
        """Record a message that was sent; return whether it is the last of the response."""
        self.reached = self.reached or reachable
        self.complete = message["type"] in ENDS and not message.get("more_body", False)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = text_headers(message.get("headers", ()))
        elif message["type"] == "http.response.pathsend":
            self.sent += int(dict(self.headers).get("content-length", 0))
        else:
            self.sent += len(message.get("body") or b"") + (message.get("count") or 0)
        return self.complete


def text_headers(headers: Any) -> list[tuple[str, str]]:
    return [(as_text(name), as_text(value)) for name, value in headers]


def as_text(part: Any) -> str:
    return part if isinstance(part, str) else bytes(part).decode("latin-1")


def has_left(exchange: Any) -> bool:
    """Return whether the client of an exchange left before its response was complete."""
    return getattr(exchange, "left", False) or getattr(exchange, "unreachable", False)


class AccessLogMiddleware:
    """An ASGI application that calls gunicorn's `logger.access()` for each response of the application it wraps.

    It does so when the response is complete, or when the application ends and leaves the response to the server. A
    client that leaves before there is a response is not logged.
    """

    def __init__(self, app: ASGI3Application, logger: Any) -> None:
        self.app = app
        self.logger = logger
        self.environs = Environs(False, True, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        response = Response()
        exchange = getattr(receive, "__self__", None)
        begin = time.monotonic()
        seen = dict(scope)  # as received: the application may change it

        async def noting(message: Message) -> None:
            reachable = not getattr(exchange, "unreachable", False)
            await send(message)
            if not response.complete and response.note(message, reachable) and response.reached:
                self.log(response, seen, begin)

        try:
            await self.app(scope, receive, noting)
        finally:
            if not response.complete and (response.reached or not has_left(exchange)):
                self.log(response, seen, begin)

    def log(self, response: Response, scope: Scope, begin: float) -> None:
        took = datetime.timedelta(seconds=time.monotonic() - begin)
        try:
            self.logger.access(response, Request(scope), self.environ_of(scope), took)
        except Exception:  # of a custom logger class; the application must not see it
            self.logger.exception("Exception in the access log")

    def environ_of(self, scope: Scope) -> dict[str, Any]:
        environ = self.environs.make(scope, None)
        query = scope["query_string"].decode("latin-1")
        target = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        environ["RAW_URI"] = f"{target}?{query}" if query else target
        return environ
