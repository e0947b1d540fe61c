"""Where uvicorn has this factory."""

from __future__ import annotations

from fastserve.loops.running import auto_loop_factory

__all__ = ["auto_loop_factory"]
