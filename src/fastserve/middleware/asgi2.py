"""Where uvicorn has the middleware for ASGI 2."""

from __future__ import annotations

from fastserve.asgi2 import ASGI2Middleware

__all__ = ["ASGI2Middleware"]
