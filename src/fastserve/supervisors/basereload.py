from __future__ import annotations

import logging

from fastserve._subprocess import get_subprocess
from fastserve.config import Config
from fastserve.logs import style
from fastserve.signals import HANDLED_SIGNALS
from fastserve.supervisor.reload import BaseReload

__all__ = ["HANDLED_SIGNALS", "BaseReload", "Config", "get_subprocess", "logger", "style"]

logger = logging.getLogger("fastserve.error")
