"""Where uvicorn has this factory."""

from __future__ import annotations

from fastserve.loops.running import zuvloop_loop_factory

__all__ = ["zuvloop_loop_factory"]
