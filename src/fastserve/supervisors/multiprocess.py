from __future__ import annotations

from fastserve.config import STARTUP_FAILURE
from fastserve.supervisor.manager import Multiprocess
from fastserve.supervisor.signals import SIGNALS
from fastserve.supervisor.worker import Process

__all__ = ["SIGNALS", "STARTUP_FAILURE", "Multiprocess", "Process"]
