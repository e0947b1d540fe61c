from __future__ import annotations

from fastserve.supervisor.manager import Multiprocess
from fastserve.supervisor.signals import SIGNALS
from fastserve.supervisor.worker import Process

__all__ = ["SIGNALS", "Multiprocess", "Process"]
