from __future__ import annotations

import logging

from fastserve.config import Config
from fastserve.supervisor.reload import BaseReload, StatReload

__all__ = ["BaseReload", "Config", "StatReload", "logger"]

logger = logging.getLogger("fastserve.error")
