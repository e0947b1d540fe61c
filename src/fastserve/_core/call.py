"""The coroutine around an application that is not a coroutine function itself."""

from __future__ import annotations

from typing import Any


async def call(app: Any, scope: Any, receive: Any, send: Any) -> Any:
    """Call `app` inside the task that runs it and return what awaiting its result gives."""
    return await app(scope, receive, send)
