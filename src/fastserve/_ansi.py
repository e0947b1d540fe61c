"""Colours of a terminal, where uvicorn has them."""

from __future__ import annotations

from fastserve.logging.formatters import style

__all__ = ["style"]
