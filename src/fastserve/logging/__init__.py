"""The formatters, those of uvicorn where it has them."""

from __future__ import annotations

from typing import Any

from fastserve.logging.formatters import TRACE_LOG_LEVEL, AccessFormatter, ColourizedFormatter, DefaultFormatter
from fastserve.logging.formatters import style as ansi_style

__all__ = [
    "TRACE_LOG_LEVEL",
    "AccessFormatter",
    "ColourizedFormatter",
    "DefaultFormatter",
    "JsonFormatter",
    "ansi_style",
]


def __getattr__(name: str) -> Any:
    if name == "JsonFormatter":  # which loads json
        from fastserve.logging.json_lines import JsonFormatter

        return JsonFormatter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
