"""The name under which uvicorn's users know fastserve.wsgi.WSGIMiddleware."""

from __future__ import annotations

from fastserve.wsgi import WSGIMiddleware

__all__ = ["WSGIMiddleware"]
