"""Changing the level of the server's loggers while it runs."""

from __future__ import annotations

import logging

from fastserve.logging.formatters import LOG_LEVELS

LOGGERS = ("fastserve.error", "fastserve.access", "fastserve.asgi")


def set_level(name: str) -> None:
    """Set the level of the server's loggers in this process, by its name in LOG_LEVELS."""
    for each in LOGGERS:
        logging.getLogger(each).setLevel(LOG_LEVELS[name])
