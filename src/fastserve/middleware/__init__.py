"""Middleware for ASGI and WSGI applications, under the names that uvicorn's users know; any server can use it."""
