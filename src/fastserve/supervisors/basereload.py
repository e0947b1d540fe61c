from __future__ import annotations

from fastserve.signals import HANDLED_SIGNALS
from fastserve.supervisor.reload import BaseReload

__all__ = ["HANDLED_SIGNALS", "BaseReload"]
