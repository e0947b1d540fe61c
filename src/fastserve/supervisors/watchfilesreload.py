from __future__ import annotations

import watchfiles  # noqa: F401  # programs learn from this import whether it is there

from fastserve.config import Config
from fastserve.supervisor.reload import BaseReload, WatchFilesReload
from fastserve.watching import Filter as FileFilter

__all__ = ["BaseReload", "Config", "FileFilter", "WatchFilesReload"]
