"""Where uvicorn has the lifespan that is none."""

from __future__ import annotations

from fastserve.config import Config
from fastserve.lifespan import LifespanOff

__all__ = ["Config", "LifespanOff"]
