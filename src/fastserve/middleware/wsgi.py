"""What uvicorn has for WSGI applications, under its names."""

from __future__ import annotations

from fastserve.wsgi import WSGIMiddleware
from fastserve.wsgi.responder import WSGIResponder, build_environ

__all__ = ["WSGIMiddleware", "WSGIResponder", "build_environ"]
