"""The lines of `--log-level trace`."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from fastserve.middleware.message_logger import MessageLoggerMiddleware, message_with_placeholders


def trace(caplog: pytest.LogCaptureFixture, app: Any, scope: dict[str, Any]) -> list[str]:
    caplog.set_level(5, logger="fastserve.asgi")
    logging.addLevelName(5, "TRACE")

    async def receive() -> Any:
        return {"type": "http.request", "body": b"1234567", "more_body": False}

    async def send(message: Any) -> None: ...

    try:
        asyncio.run(MessageLoggerMiddleware(app)(scope, receive, send))
    finally:
        lines = [record.getMessage() for record in caplog.records if record.levelno == 5]
    return lines


SCOPE = {"type": "http", "client": ("10.0.0.1", 5), "headers": [(b"cookie", b"secret")]}
SHOWN = "{'type': 'http', 'client': ('10.0.0.1', 5), 'headers': '<...>'}"


def test_lines(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.body", "body": b"12345"})

    assert trace(caplog, app, SCOPE) == [
        f"10.0.0.1:5 - ASGI [1] Started scope={SHOWN}",
        "10.0.0.1:5 - ASGI [1] Receive {'type': 'http.request', 'body': '<7 bytes>', 'more_body': False}",
        "10.0.0.1:5 - ASGI [1] Send {'type': 'http.response.body', 'body': '<5 bytes>'}",
        "10.0.0.1:5 - ASGI [1] Completed",
    ]


def test_exception(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trace(caplog, app, {"type": "lifespan"})
    assert [record.getMessage() for record in caplog.records] == [
        "ASGI [1] Started scope={'type': 'lifespan'}",
        "ASGI [1] Raised exception",
    ]


def test_placeholders() -> None:
    message: dict[str, Any] = {"body": b"", "text": "abc", "bytes": None, "headers": iter([])}
    assert message_with_placeholders(message) == {
        "body": "<0 bytes>",
        "text": "<3 chars>",
        "bytes": None,
        "headers": "<...>",
    }
    assert message["text"] == "abc"
