"""The formatters, where uvicorn has them."""

from __future__ import annotations

from fastserve.logging.formatters import TRACE_LOG_LEVEL, AccessFormatter, ColourizedFormatter, DefaultFormatter
from fastserve.logging.formatters import style as ansi_style

__all__ = ["TRACE_LOG_LEVEL", "AccessFormatter", "ColourizedFormatter", "DefaultFormatter", "ansi_style"]
