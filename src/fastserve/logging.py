"""The formatters, where uvicorn has them."""

from __future__ import annotations

from fastserve.logs import TRACE_LOG_LEVEL, AccessFormatter, ColourizedFormatter, DefaultFormatter

__all__ = ["TRACE_LOG_LEVEL", "AccessFormatter", "ColourizedFormatter", "DefaultFormatter"]
