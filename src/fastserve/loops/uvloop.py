"""Where uvicorn has this factory."""

from __future__ import annotations

from fastserve.loops.running import uvloop_loop_factory

__all__ = ["uvloop_loop_factory"]
