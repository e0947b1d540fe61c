"""The access log: who writes it, and whether it is written at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter

if TYPE_CHECKING:
    from fastserve._core.http.access_log import AccessLog
    from fastserve.options.table import Options


def access_log(options: Options) -> AccessLog | None:
    """Return the core's writer of access lines, None where they are switched off.

    It makes the lines itself while the logger `fastserve.access` has its default handler and formatter, and log records
    once it has others.
    """
    if not options.access_log:
        return None
    from fastserve._core.http.access_log import AccessLog

    return AccessLog(logging.getLogger("fastserve.access"), AccessFormatter, ACCESS_FORMAT)
