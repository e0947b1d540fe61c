"""Where uvicorn has the lifespan of an application."""

from __future__ import annotations

from fastserve.lifespan import STATE_TRANSITION_ERROR, LifespanOn

__all__ = ["STATE_TRANSITION_ERROR", "LifespanOn"]
