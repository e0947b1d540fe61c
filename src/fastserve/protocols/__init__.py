"""Protocols besides the compiled core: reference implementations, and uvicorn's names for what programs import."""
