"""Middleware for ASGI and WSGI applications, under uvicorn's names. It works under any server."""
