"""Formatters and the default configuration."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
from typing import Any

import pytest

import fastserve
from fastserve.logging import formatters
from fastserve.logging.json_lines import FORMATS, JsonFormatter


def record_of(level: int, message: str, *args: Any, **extra: Any) -> logging.LogRecord:
    record = logging.LogRecord("fastserve.error", level, __file__, 1, message, args, None)
    record.__dict__.update(extra)
    return record


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("level", "plain", "coloured"),
    [
        (5, "TRACE:   ", "\x1b[34mTRACE\x1b[0m:   "),
        (10, "DEBUG:   ", "\x1b[36mDEBUG\x1b[0m:   "),
        (20, "INFO:    ", "\x1b[32mINFO\x1b[0m:    "),
        (30, "WARNING: ", "\x1b[33mWARNING\x1b[0m: "),
        (40, "ERROR:   ", "\x1b[31mERROR\x1b[0m:   "),
        (50, "CRITICAL:", "\x1b[91mCRITICAL\x1b[0m:"),
        (25, "Level 25:", "Level 25:"),
    ],
)
def test_level_prefix(level: int, plain: str, coloured: str) -> None:
    logging.addLevelName(5, "TRACE")
    fmt = "%(levelprefix)s|%(message)s"
    record = record_of(level, "x %d", 1)
    assert formatters.DefaultFormatter(fmt, use_colors=False).format(record) == f"{plain}|x 1"
    assert formatters.DefaultFormatter(fmt, use_colors=True).format(record) == f"{coloured}|x 1"
    assert record.getMessage() == "x 1"
    assert "levelprefix" not in record.__dict__


def test_color_message() -> None:
    record = record_of(20, "on %s", "me", color_message="on \x1b[1m%s\x1b[0m")
    assert formatters.DefaultFormatter("%(message)s", use_colors=True).format(record) == "on \x1b[1mme\x1b[0m"
    assert formatters.DefaultFormatter("%(message)s", use_colors=False).format(record) == "on me"
    assert record.getMessage() == "on me"


def test_other_parts_of_a_line() -> None:
    """Times, exceptions and styles are those of any formatter."""
    try:
        raise ValueError("wrong")
    except ValueError:
        record = logging.LogRecord("n", 40, "p", 1, "m", (), sys.exc_info())
    record.created = 0.0
    formatter = formatters.DefaultFormatter("{asctime} {levelprefix} {message}", "%Y", "{", use_colors=False)
    lines = formatter.format(record).splitlines()
    assert lines[0] in ("1970 ERROR:    m", "1969 ERROR:    m")
    assert (lines[1], lines[-1]) == ("Traceback (most recent call last):", "ValueError: wrong")


@pytest.mark.parametrize(
    ("status", "plain", "colour"),
    [
        (101, "101 Switching Protocols", 97),
        (200, "200 OK", 32),
        (307, "307 Temporary Redirect", 33),
        (404, "404 Not Found", 31),
        (500, "500 Internal Server Error", 91),
        (299, "299 ", 32),
        (700, "700 ", None),
    ],
)
def test_access_line(status: int, plain: str, colour: int | None) -> None:
    args = ("10.0.0.1:1", "GET", "/a%20b?c", "1.1", status)
    record = logging.LogRecord("fastserve.access", 20, "p", 1, '%s - "%s %s HTTP/%s" %d', args, None)
    formatter = formatters.AccessFormatter(formatters.ACCESS_FORMAT, use_colors=False)
    assert formatter.format(record) == f'INFO:     10.0.0.1:1 - "GET /a%20b?c HTTP/1.1" {plain}'
    formatter = formatters.AccessFormatter(formatters.ACCESS_FORMAT, use_colors=True)
    phrase = plain if colour is None else f"\x1b[{colour}m{plain}\x1b[0m"
    line = f'\x1b[32mINFO\x1b[0m:     10.0.0.1:1 - "\x1b[1mGET /a%20b?c HTTP/1.1\x1b[0m" {phrase}'
    assert formatter.format(record) == line
    assert record.args == args


def test_colors_follow_the_stream_of_the_default_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error for the server's lines, standard output for access lines; neither need be there."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert (formatters.DefaultFormatter().use_colors, formatters.AccessFormatter().use_colors) == (True, False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", None)
    assert (formatters.DefaultFormatter().use_colors, formatters.AccessFormatter().use_colors) == (False, True)
    closed = Terminal()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert not formatters.is_terminal(io.TextIOWrapper(io.BytesIO()))
    assert formatters.ColourizedFormatter(use_colors=False).use_colors is False
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert formatters.DefaultFormatter().use_colors is False


def test_default_configuration() -> None:
    """The loggers have uvicorn's layout: own handlers, no propagation, access lines to standard output."""
    fastserve.Config("a:b")
    top, error, access = (logging.getLogger(name) for name in ("fastserve", "fastserve.error", "fastserve.access"))
    assert [type(handler) for handler in top.handlers] == [logging.StreamHandler]
    assert [type(handler) for handler in access.handlers] == [logging.StreamHandler]
    assert isinstance(top.handlers[0].formatter, formatters.DefaultFormatter)
    assert isinstance(access.handlers[0].formatter, formatters.AccessFormatter)
    assert access.handlers[0].formatter._fmt == formatters.ACCESS_FORMAT
    assert (top.propagate, error.propagate, access.propagate) == (False, True, False)
    assert (top.level, error.level, access.level) == (20, 20, 20)
    assert getattr(top.handlers[0], "stream", None) is sys.stderr
    assert getattr(access.handlers[0], "stream", None) is sys.stdout


@pytest.mark.parametrize(
    ("level", "number"),
    [("critical", 50), ("error", 40), ("warning", 30), ("info", 20), ("debug", 10), ("trace", 5), (7, 7)],
)
def test_log_level(level: str | int, number: int) -> None:
    fastserve.Config("a:b", log_level=level)
    names = ("fastserve.error", "fastserve.access", "fastserve.asgi")
    assert [logging.getLogger(name).level for name in names] == [number] * 3
    assert logging.getLevelName(5) == "TRACE"


def test_no_access_log() -> None:
    logger = logging.getLogger("fastserve.access")
    fastserve.Config("a:b", access_log=False)
    assert (logger.handlers, logger.propagate) == ([], False)


def test_json_of_a_slow_request() -> None:
    """Platforms that have a duration of requests have it in nanoseconds, and an id's own field."""
    record = logging.makeLogRecord(
        {"msg": "slow", "levelno": 5, "levelname": "TRACE", "duration": 1.5, "request_id": "x"}
    )
    shown = {form: json.loads(JsonFormatter(form).format(record)) for form in FORMATS}
    assert (shown["json"]["duration"], shown["json"]["request_id"], shown["json"]["level"]) == (1.5, "x", "TRACE")
    assert (shown["json:ecs"]["event.duration"], shown["json:ecs"]["http.request.id"]) == (1_500_000_000, "x")
    assert (shown["json:datadog"]["duration"], shown["json:datadog"]["http"]) == (1_500_000_000, {"request_id": "x"})
    assert (shown["json:gcp"]["duration"], shown["json:gcp"]["severity"]) == (1.5, "DEBUG")


def test_json_of_the_loggers_of_an_application() -> None:
    """A configuration of logging finds the formatter where the others are."""
    stream = io.StringIO()
    logging.config.dictConfig({
        "version": 1, "disable_existing_loggers": False,
        "formatters": {"json": {"()": "fastserve.logging.JsonFormatter", "form": "json:ecs"}},
        "handlers": {"json": {"class": "logging.StreamHandler", "formatter": "json", "stream": stream}},
        "loggers": {"my.app": {"level": "INFO", "handlers": ["json"], "propagate": False}},
    })  # fmt: skip
    logging.getLogger("my.app").info("here", extra={"request_id": "x"})
    values = json.loads(stream.getvalue())
    assert (values["message"], values["http.request.id"], values["log.logger"]) == ("here", "x", "my.app")


def test_json_of_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the access log; Google's has the project in it, unless the program has said it."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    values = {"msg": "failed", "levelno": 40, "levelname": "ERROR", "trace_id": "0af7"}
    shown = {form: json.loads(JsonFormatter(form).format(logging.makeLogRecord(values))) for form in FORMATS}
    assert shown["json"]["trace_id"] == shown["json:datadog"]["trace_id"] == shown["json:ecs"]["trace.id"] == "0af7"
    assert shown["json:gcp"]["logging.googleapis.com/trace"] == "projects/my-project/traces/0af7"
    record = logging.makeLogRecord(values | {"trace_id": "projects/p/traces/0af7"})
    shown["json:gcp"] = json.loads(JsonFormatter("json:gcp").format(record))
    assert shown["json:gcp"]["logging.googleapis.com/trace"] == "projects/p/traces/0af7"


def test_json_of_extra_values_that_json_has_not() -> None:
    """The line stays one of JSON, where NaN is no value and keys are texts."""
    circle: list[object] = []
    circle.append(circle)
    record = logging.makeLogRecord({"msg": "here", "a": float("nan"), "b": {(1, 2): 3}, "c": circle, "d": 4})
    values = json.loads(JsonFormatter().format(record), parse_constant=pytest.fail)
    assert values["message"] == "here"
    assert (values["a"], values["b"], values["c"], values["d"]) == ("nan", "{(1, 2): 3}", "[[...]]", 4)
