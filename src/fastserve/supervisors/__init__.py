"""The parents of server processes, under the names that programs know from uvicorn.supervisors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastserve.supervisor.manager import Multiprocess
from fastserve.supervisor.reload import BaseReload

if TYPE_CHECKING:
    ChangeReload = BaseReload

__all__ = ["ChangeReload", "Multiprocess"]


def __getattr__(name: str) -> Any:
    if name == "ChangeReload":
        from fastserve.supervisor.reload import change_reload

        return change_reload()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
