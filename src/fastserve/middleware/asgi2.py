"""ASGI 2 applications, which take the scope first and return a callable that takes receive and send."""

from __future__ import annotations

from fastserve._types import ASGI2Application, Receive, Scope, Send


class ASGI2Middleware:
    """Wraps an ASGI 2 application as an ASGI 3 one. Its scope says version "2.0"."""

    def __init__(self, app: ASGI2Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["asgi"] = {**scope.get("asgi", {}), "version": "2.0"}
        await self.app(scope)(receive, send)
