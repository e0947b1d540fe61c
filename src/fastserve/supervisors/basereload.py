from __future__ import annotations

from fastserve.supervisor.reload import BaseReload

__all__ = ["BaseReload"]
