"""Where uvicorn has the lifespan of an application."""

from __future__ import annotations

from fastserve._types import Message as LifespanReceiveMessage
from fastserve._types import Message as LifespanSendMessage
from fastserve.config import Config
from fastserve.lifespan import STATE_TRANSITION_ERROR, LifespanOn

__all__ = ["STATE_TRANSITION_ERROR", "Config", "LifespanOn", "LifespanReceiveMessage", "LifespanSendMessage"]
