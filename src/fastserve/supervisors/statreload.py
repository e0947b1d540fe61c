from __future__ import annotations

from fastserve.supervisor.reload import StatReload

__all__ = ["StatReload"]
