"""The general log as JSON: one line a record, tracebacks included.

Names for platforms are from the sources that `access_format` lists, and: "Format errors in logs" of Google's Error
Reporting, for `stack_trace`; "Error Tracking" of Datadog, for `error.kind`, `error.message` and `error.stack`.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from fastserve.logging.access_format import google_trace
from fastserve.process import place

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
FORMATS: dict[str, dict[str, str]] = {  # other names of the fields; of an error's kind and reason, the only ones
    "json": {},
    "json:ecs": {
        "time": "@timestamp", "level": "log.level", "logger": "log.logger", "process": "process.pid",
        "worker": "fastserve.worker", "exception": "error.stack_trace", "kind": "error.type", "reason": "error.message",
        "duration": "event.duration", "request_id": "http.request.id", "trace_id": "trace.id",
    },
    "json:gcp": {"level": "severity", "exception": "stack_trace", "trace_id": "logging.googleapis.com/trace"},
    "json:datadog": {
        "time": "timestamp", "level": "status", "logger": "logger.name", "worker": "fastserve.worker",
        "exception": "error.stack", "kind": "error.kind", "reason": "error.message", "request_id": "http.request_id",
    },
}  # fmt: skip
NESTED = {"json:datadog"}  # a dot in a name leads into an object
IN_NANOSECONDS = LOWER_CASE = {"json:ecs", "json:datadog"}  # durations; levels


def text_of(value: object) -> str:
    """Return it as text, also where its own method for that raises."""
    try:
        return str(value)
    except Exception:  # whatever an application's object does, the record is written
        return f"<unprintable {type(value).__qualname__} object>"


class JsonFormatter(logging.Formatter):
    """A formatter that writes JSON, one object per line: time, level, logger, message, process, worker, and `extra`.

    `form` is `json`, or a log platform, whose names the fields have then: `json:ecs`, `json:gcp`, `json:datadog`.
    """

    def __init__(self, form: str = "json") -> None:
        super().__init__()
        self.form = form
        self.names = FORMATS[form]

    def format(self, record: logging.LogRecord) -> str:
        values = self.values(record)
        try:
            return json.dumps(values, default=text_of, allow_nan=False)  # ASCII alone, and no end of line
        except (
            TypeError,
            ValueError,
            RecursionError,
        ):  # `extra` has NaN, a circle, keys of tuples
            plain = {name: value if isinstance(value, str | int) else text_of(value) for name, value in values.items()}
            return json.dumps(plain)

    def values(self, record: logging.LogRecord) -> dict[str, Any]:
        found: dict[str, Any] = {
            "time": self.moment(record),
            "level": self.level(record),
            "logger": record.name,
            "message": record.getMessage().rstrip("\n"),
            "process": record.process,
        }
        if self.form == "json:ecs":
            found["ecs.version"] = "8.11.0"
        if place.own() is not None:
            found["worker"] = place.own()
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
            kind, reason, _ = record.exc_info
            if "kind" in self.names and kind is not None:
                found |= {"kind": kind.__qualname__, "reason": text_of(reason)}
        elif record.exc_text:
            found["exception"] = record.exc_text
        if record.stack_info:
            found["stack"] = self.formatStack(record.stack_info)
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD and name not in found}
        if self.form in IN_NANOSECONDS and isinstance(extra.get("duration"), float):
            extra["duration"] = round(extra["duration"] * 1e9)
        if self.form == "json:gcp" and "/" not in text_of(extra.get("trace_id", "/")):
            extra["trace_id"] = f"{google_trace()}{text_of(extra['trace_id'])}"
        named: dict[str, Any] = {}
        for name, value in found.items():
            self.put(named, self.names.get(name, name), value)
        for name, value in extra.items():
            if name not in named:
                self.put(named, self.names.get(name, name), value)
        return named

    def put(self, values: dict[str, Any], name: str, value: object) -> None:
        if self.form in NESTED and name in self.names.values():
            *outer, name = name.split(".")
            for each in outer:
                values = values.setdefault(each, {})
        values[name] = value

    def level(self, record: logging.LogRecord) -> str:
        if self.form == "json:gcp" and record.levelno < logging.DEBUG:
            return "DEBUG"  # TRACE is not one of its severities
        return record.levelname.lower() if self.form in LOWER_CASE else record.levelname

    def moment(self, record: logging.LogRecord) -> str:
        seconds = int(record.created)
        fraction = int((record.created - seconds) * 1e6)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:06}Z"
