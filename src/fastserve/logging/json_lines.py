"""The general log as JSON: one line a record, tracebacks included."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from fastserve.process import place

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonFormatter(logging.Formatter):
    """A formatter with the fields time, level, logger, message, process, worker (its place), and those of `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, Any] = {
            "time": self.moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage().rstrip("\n"),
            "process": record.process,
        }
        if place.own() is not None:
            values["worker"] = place.own()
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:
            values["exception"] = record.exc_text
        if record.stack_info:
            values["stack"] = self.formatStack(record.stack_info)
        values |= {name: value for name, value in vars(record).items() if name not in STANDARD and name not in values}
        try:
            return json.dumps(values, default=str, allow_nan=False)  # ASCII alone, and no end of line
        except (
            TypeError,
            ValueError,
            RecursionError,
        ):  # `extra` has NaN, a circle, keys of tuples
            plain = {name: value if isinstance(value, str | int) else str(value) for name, value in values.items()}
            return json.dumps(plain)

    def moment(self, record: logging.LogRecord) -> str:
        seconds = int(record.created)
        fraction = int((record.created - seconds) * 1e6)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:06}Z"
