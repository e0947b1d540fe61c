"""Loggers, formatters and the default logging configuration, with uvicorn's layout under fastserve's name."""

from __future__ import annotations

import functools
import http
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    Colours = dict[int, Callable[[str], str]]

TRACE_LOG_LEVEL = 5

LOG_LEVELS: dict[str, int] = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE_LOG_LEVEL,
}

# The core writes access lines itself only while the formatter in use has this very format.
ACCESS_FORMAT = '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s'


class Loggers(dict[str, Any]):
    """The loggers of a logging configuration, which uvicorn's names stand for as well."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(fastserves(name))

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(fastserves(name), value)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(fastserves(name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(fastserves(name) if isinstance(name, str) else name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the settings of a logger, `default` where there are none."""
        return super().get(fastserves(name), default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the settings of a logger, which are `default` if it has none yet."""
        return super().setdefault(fastserves(name), default)

    def copy(self) -> Loggers:
        """Return a copy that knows both names as well."""
        return Loggers(self)

    def pop(self, name: str, *default: Any) -> Any:
        """Take the settings of a logger out and return them."""
        return super().pop(fastserves(name), *default)

    def update(self, *others: Any, **settings: Any) -> None:
        """Take over the settings of other loggers."""
        for name, value in dict(*others, **settings).items():
            self[name] = value


def fastserves(name: str) -> str:
    """Return the name of fastserve's logger that stands for one of uvicorn's; any other as it is."""
    top, dot, rest = name.partition(".")
    return f"fastserve{dot}{rest}" if top == "uvicorn" else name


LOGGING_CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {
            "()": "fastserve.logging.DefaultFormatter",
            "fmt": "%(levelprefix)s %(message)s",
            "use_colors": None,
        },
        "access": {
            "()": "fastserve.logging.AccessFormatter",
            "fmt": ACCESS_FORMAT,
        },
    },
    "handlers": {
        "default": {"formatter": "default", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
        "access": {"formatter": "access", "class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "loggers": Loggers(
        {
            "fastserve": {"handlers": ["default"], "level": "INFO", "propagate": False},
            "fastserve.error": {"level": "INFO"},
            "fastserve.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
        }
    ),
}

COLOURS = {
    "black": 30,
    "red": 31,
    "green": 32,
    "yellow": 33,
    "blue": 34,
    "magenta": 35,
    "cyan": 36,
    "white": 37,
    "bright_black": 90,
    "bright_red": 91,
    "bright_green": 92,
    "bright_yellow": 93,
    "bright_blue": 94,
    "bright_magenta": 95,
    "bright_cyan": 96,
    "bright_white": 97,
}
LEVEL_COLOURS = {
    TRACE_LOG_LEVEL: "blue",
    logging.DEBUG: "cyan",
    logging.INFO: "green",
    logging.WARNING: "yellow",
    logging.ERROR: "red",
    logging.CRITICAL: "bright_red",
}
STATUS_COLOURS = {1: "bright_white", 2: "green", 3: "yellow", 4: "red", 5: "bright_red"}


def adopt_uvicorns() -> None:
    """Make what uvicorn's classes log, to uvicorn's loggers, come out of those of fastserve."""
    for suffix in ("", ".error", ".access", ".asgi"):
        theirs, ours = (logging.getLogger(f"{package}{suffix}") for package in ("uvicorn", "fastserve"))
        if theirs is not ours:
            theirs.parent = ours


def style(text: str, fg: str | None = None, bold: bool = False) -> str:
    """Return the text between the terminal's codes for a colour of COLOURS, for bold, or for both."""
    colour = f"\033[{COLOURS[fg]}m" if fg else ""
    weight = "\033[1m" if bold else ""
    return f"{colour}{weight}{text}\033[0m"


def colours(names: dict[int, str]) -> Colours:
    """Return what colours a text, by number."""
    return {number: functools.partial(style, fg=name) for number, name in names.items()}


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether the stream, which may be missing or closed, is a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def wants_colours(stream: TextIO | None) -> bool:
    """Return whether to colour the output to a stream: on a terminal, unless NO_COLOR or FORCE_COLOR is set."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


class ColourizedFormatter(logging.Formatter):
    """A formatter with `%(levelprefix)s`, the level's name and a colon padded to nine columns, in colour on request.

    A record's `color_message` attribute takes the place of its message where colours are on, with the same arguments.
    """

    level_name_colors: ClassVar[Colours] = colours(LEVEL_COLOURS)

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        use_colors: bool | None = None,
    ) -> None:
        self.use_colors = self.should_use_colors() if use_colors is None else bool(use_colors)
        super().__init__(fmt=fmt, datefmt=datefmt, style=style)

    def should_use_colors(self) -> bool:
        """Return whether to colour if `use_colors` leaves it open."""
        return wants_colours(sys.stdout)

    def color_level_name(self, level_name: str, level_no: int) -> str:
        """Return a level's name in its colour; the plain name for a level without one."""
        colour = self.level_name_colors.get(level_no)
        return colour(level_name) if colour is not None else level_name

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line of a record; the record itself, which other handlers see as well, stays as it is."""
        values = dict(record.__dict__)
        name = record.levelname
        padding = " " * (8 - len(name))
        if self.use_colors:
            name = self.color_level_name(name, record.levelno)
            if "color_message" in values:
                values["msg"] = values["color_message"]
                values["message"] = logging.makeLogRecord(values).getMessage()
        values["levelprefix"] = f"{name}:{padding}"
        return super().formatMessage(logging.makeLogRecord(values))


class DefaultFormatter(ColourizedFormatter):
    """The formatter of everything but access lines; colours by default if standard error is a terminal."""

    def should_use_colors(self) -> bool:
        return wants_colours(sys.stderr)


class AccessFormatter(ColourizedFormatter):
    """The formatter of access records, whose five arguments are client, method, path, HTTP version and status."""

    status_code_colours: ClassVar[Colours] = colours(STATUS_COLOURS)

    def get_status_code(self, status_code: int) -> str:
        """Return a status with its reason phrase, in the colour of its class on request."""
        try:
            phrase = http.HTTPStatus(status_code).phrase
        except ValueError:
            phrase = ""
        text = f"{status_code} {phrase}"
        colour = self.status_code_colours.get(status_code // 100) if self.use_colors else None
        return colour(text) if colour is not None else text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        client_addr, method, full_path, http_version, status_code = record.args  # type: ignore[misc]
        request_line = f"{method} {full_path} HTTP/{http_version}"
        values = dict(record.__dict__)
        values["client_addr"] = client_addr
        values["request_line"] = style(request_line, bold=True) if self.use_colors else request_line
        values["status_code"] = self.get_status_code(int(status_code))  # type: ignore[arg-type]
        return super().formatMessage(logging.makeLogRecord(values))
