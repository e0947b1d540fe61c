"""Where uvicorn has this factory."""

from __future__ import annotations

from fastserve.loops.running import asyncio_loop_factory

__all__ = ["asyncio_loop_factory"]
