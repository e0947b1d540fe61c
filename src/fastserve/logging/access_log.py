"""The access log: who writes it, and whether it is written at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastserve.logging import core_records
from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter

if TYPE_CHECKING:
    from fastserve._core.http.access_log import AccessLog
    from fastserve.options.table import Options


def access_log(options: Options) -> AccessLog | None:
    """Return the core's writer of access lines, None where they are switched off.

    It makes the lines itself while the logger `fastserve.access` has its default handler and formatter, or that of
    `access_log_file`, and log records once it has others.
    """
    if not options.access_log:
        return None
    from fastserve._core.http.access_log import AccessLog

    form = None
    file_class: type[logging.Handler] | None = None
    if options.access_log_format != "default":
        from fastserve.logging.access_format import compiled

        form = compiled(options.access_log_format)
    if options.access_log_file is not None:
        from fastserve.logging.access_file import AccessFile

        file_class = AccessFile
    # Not made before: uvicorn has none yet where a program disables all loggers that exist.
    logger = logging.getLogger("fastserve.access")
    return AccessLog(
        logger, AccessFormatter, ACCESS_FORMAT,
        format=form, skip=tuple(options.access_log_skip or ()), sample=options.access_log_sample,
        file_class=file_class, emit=core_records.emitter(logger),
    )  # fmt: skip
