from __future__ import annotations

import logging

from fastserve._subprocess import get_subprocess
from fastserve.config import STARTUP_FAILURE, Config
from fastserve.logs import style
from fastserve.server import Server
from fastserve.supervisor.manager import Multiprocess
from fastserve.supervisor.signals import SIGNALS
from fastserve.supervisor.worker import Process

__all__ = [
    "SIGNALS",
    "STARTUP_FAILURE",
    "Config",
    "Multiprocess",
    "Process",
    "Server",
    "get_subprocess",
    "logger",
    "style",
]

logger = logging.getLogger("fastserve.error")
