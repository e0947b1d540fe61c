"""The access log: who writes it, and whether it is written at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter

if TYPE_CHECKING:
    from fastserve._core.http.access_log import AccessLog
    from fastserve.config import Config


def access_log(config: Config) -> AccessLog | None:
    """Return the core's writer of access lines, None where they are switched off.

    It makes the lines itself as long as the logger `fastserve.access` has the handler and formatter that it has by
    default, and real log records from the moment it has others.
    """
    if not config.access_log:
        return None
    from fastserve._core.http.access_log import AccessLog

    return AccessLog(logging.getLogger("fastserve.access"), AccessFormatter, ACCESS_FORMAT)
