"""Protocols besides the compiled core: reference implementations, and the names that programs import from uvicorn."""
