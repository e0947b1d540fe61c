"""Middleware for ASGI applications, usable with any server."""
