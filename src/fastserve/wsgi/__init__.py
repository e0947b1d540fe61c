"""WSGI applications (PEP 3333), each request in a thread of a pool, streamed in both directions."""

from __future__ import annotations

from fastserve.wsgi.middleware import WSGIMiddleware

__all__ = ["WSGIMiddleware"]
