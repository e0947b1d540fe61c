"""The access log under gunicorn: its logger writes it, in its format, from what it is told of each response."""

from __future__ import annotations

import datetime
import time
from typing import Any

from fastserve._core.environ import Environs
from fastserve._types import ASGI3Application, Message, Receive, Scope, Send


class Request:
    """What gunicorn's logger wants to know of a request besides its environ."""

    def __init__(self, scope: Scope) -> None:
        self.headers = text_headers(scope["headers"])


class Response:
    """What gunicorn's logger wants to know of a response."""

    def __init__(self) -> None:
        self.status = 500  # until there is another
        self.headers: list[tuple[str, str]] = []
        self.sent = 0  # bytes of the body

    def note(self, message: Message) -> None:
        """Take what a message says."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = text_headers(message.get("headers", ()))
        elif message["type"] == "http.response.pathsend":
            self.sent += int(dict(self.headers).get("content-length", 0))
        else:
            self.sent += len(message.get("body") or b"") + message.get("count", 0)


def text_headers(headers: Any) -> list[tuple[str, str]]:
    return [(as_text(name), as_text(value)) for name, value in headers]


def as_text(part: Any) -> str:
    return part if isinstance(part, str) else bytes(part).decode("latin-1")


class AccessLogMiddleware:
    """An ASGI application that calls gunicorn's `logger.access()` at the end of each request of the one inside it."""

    def __init__(self, app: ASGI3Application, logger: Any) -> None:
        self.app = app
        self.logger = logger
        self.environs = Environs(False, True, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        response = Response()
        begin = time.monotonic()
        seen = dict(scope)  # as it came, whatever the application makes of it

        async def noting(message: Message) -> None:
            await send(message)
            response.note(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            took = datetime.timedelta(seconds=time.monotonic() - begin)
            self.logger.access(response, Request(seen), self.environ_of(seen), took)

    def environ_of(self, scope: Scope) -> dict[str, Any]:
        environ = self.environs.make(scope, None)
        query = scope["query_string"].decode("latin-1")
        target = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        environ["RAW_URI"] = f"{target}?{query}" if query else target
        return environ
