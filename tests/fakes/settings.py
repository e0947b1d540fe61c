"""The core's settings as the table of options has them, but for what a test says."""

from __future__ import annotations

import functools
from typing import Any

from fastserve._core.settings import Settings
from fastserve.options.core import core_settings
from fastserve.options.table import Options


@functools.cache
def no_options() -> Options:
    """Return the options of a server without any; to check them all takes as long as to serve dozens of requests."""
    return Options("app")


def make_settings(**changes: Any) -> Settings:
    """Return the settings of a server without options; `changes` are fields of Settings."""
    return core_settings(no_options(), **changes)
