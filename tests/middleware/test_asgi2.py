"""ASGI 2 applications."""

from __future__ import annotations

import asyncio
from typing import Any

from fastserve.middleware.asgi2 import ASGI2Middleware


def test_scope_first_then_receive_and_send() -> None:
    calls: list[Any] = []

    class Application:
        def __init__(self, scope: Any) -> None:
            calls.append(dict(scope))

        async def __call__(self, receive: Any, send: Any) -> None:
            calls.append((receive, send))

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    shared = {"version": "3.0", "spec_version": "2.5"}
    asyncio.run(ASGI2Middleware(Application)({"type": "http", "asgi": shared}, receive, send))
    assert calls == [{"type": "http", "asgi": {"version": "2.0", "spec_version": "2.5"}}, (receive, send)]
    assert shared["version"] == "3.0"
