"""ASGI 2 applications, which take the scope first and give back what takes receive and send."""

from __future__ import annotations

from fastserve._types import ASGI2Application, Receive, Scope, Send


class ASGI2Middleware:
    """An ASGI 3 application made of an ASGI 2 one, which is told version "2.0" in its scope."""

    def __init__(self, app: ASGI2Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["asgi"] = {**scope.get("asgi", {}), "version": "2.0"}
        await self.app(scope)(receive, send)
