"""Logs each ASGI message to `fastserve.asgi`, for `--log-level trace`."""

from __future__ import annotations

import itertools
import logging
from typing import Any

from fastserve._types import ASGI3Application, Message, Receive, Scope, Send
from fastserve.logging.formatters import TRACE_LOG_LEVEL

__all__ = ["PLACEHOLDER_FORMAT", "TRACE_LOG_LEVEL", "MessageLoggerMiddleware", "message_with_placeholders"]

PLACEHOLDER_FORMAT = {"body": "<{} bytes>", "bytes": "<{} bytes>", "text": "<{} chars>", "headers": "<...>"}


def message_with_placeholders(message: Any) -> Any:
    """Return a copy of a message or scope with the size of its content in place of the content."""
    shown = dict(message)
    for key, placeholder in PLACEHOLDER_FORMAT.items():
        content = shown.get(key)
        if content is not None:
            shown[key] = placeholder.format(len(content)) if hasattr(content, "__len__") else "<...>"
    return shown


class MessageLoggerMiddleware:
    """Wraps an ASGI application and logs what passes between it and the server, at level TRACE."""

    def __init__(self, app: ASGI3Application) -> None:
        self.app = app
        self.logger = logging.getLogger("fastserve.asgi")
        self.numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        number = next(self.numbers)
        client = scope.get("client")
        prefix = f"{client[0]}:{client[1]} - ASGI" if client else "ASGI"

        def trace(what: str, shown: Any = "") -> None:
            self.logger.log(TRACE_LOG_LEVEL, "%s [%d] %s%s", prefix, number, what, shown)

        async def logged_receive() -> Message:
            message = await receive()
            trace("Receive ", message_with_placeholders(message))
            return message

        async def logged_send(message: Message) -> None:
            trace("Send ", message_with_placeholders(message))
            await send(message)

        trace("Started scope=", message_with_placeholders(scope))
        try:
            await self.app(scope, logged_receive, logged_send)
        except BaseException:
            trace("Raised exception")
            raise
        trace("Completed")
