"""Where uvicorn has the middleware that logs messages."""

from __future__ import annotations

from fastserve.logs import TRACE_LOG_LEVEL
from fastserve.message_logger import PLACEHOLDERS, MessageLoggerMiddleware, message_with_placeholders

PLACEHOLDER_FORMAT = PLACEHOLDERS

__all__ = ["PLACEHOLDER_FORMAT", "TRACE_LOG_LEVEL", "MessageLoggerMiddleware", "message_with_placeholders"]
