"""Applying a logging configuration, in any of the forms that Config takes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

from fastserve._version import requirement
from fastserve.logging.formatters import fastserves

if TYPE_CHECKING:
    from configparser import RawConfigParser

    LogConfig = dict[str, Any] | str | os.PathLike[str] | RawConfigParser | IO[Any] | None

UVICORN_FORMATTERS = {
    f"uvicorn.logging.{name}": f"fastserve.logging.{name}"
    for name in ("AccessFormatter", "ColourizedFormatter", "DefaultFormatter")
}


class ConfigError(Exception):
    """A file of the configuration that cannot be used; the text names the file and the reason."""


def apply(config: LogConfig, use_colors: bool | None) -> bool:
    """Configure logging, and say whether the configuration was uvicorn's and was translated.

    A dict is one of logging.config.dictConfig, a path one of a .json, .yaml or .ini file, a parser or an open file what
    logging.config.fileConfig takes; None leaves logging as it is. Raises ConfigError for a file that cannot be used.
    """
    if config is None:
        return False
    if isinstance(config, dict):
        return apply_dict(config, use_colors)
    if isinstance(config, str | os.PathLike):
        path = os.fspath(config)
        try:
            return apply_path(path)
        except Exception as exc:
            cause = f": {exc.__cause__}" if exc.__cause__ is not None else ""  # which dictConfig keeps to itself
            why = " ".join(f"{exc}{cause}".split())  # of parsers that say it in several lines
            raise ConfigError(f"log_config '{path}' cannot be used: {type(exc).__name__}: {why}") from exc
    return apply_parser(config)


def adapt(log_format: str) -> None:
    """Let the server's own handlers of the general log write JSON, and say to systemd's journal how grave a line is."""
    from fastserve.logging import journal
    from fastserve.logging.formatters import DefaultFormatter

    for handler in {id(each): each for name in ("fastserve", "fastserve.error") for each in handlers_of(name)}.values():
        if type(handler.formatter) is not DefaultFormatter:
            continue
        if log_format != "default":
            from fastserve.logging.json_lines import JsonFormatter

            handler.setFormatter(JsonFormatter(log_format))
        if isinstance(handler, logging.StreamHandler) and journal.is_journal(handler.stream):
            handler.setFormatter(journal.Prioritized(handler.formatter))


def handlers_of(name: str) -> list[logging.Handler]:
    return logging.getLogger(name).handlers


def apply_path(path: str) -> bool:
    from pathlib import Path

    if path.endswith(".json"):
        import json

        with Path(path).open(encoding="utf-8") as file:
            return apply_dict(json.load(file), None)
    if path.endswith((".yaml", ".yml")):
        try:
            import yaml
        except ImportError:
            raise ImportError(f"install PyYAML, or {requirement('standard')}, to read YAML") from None
        with Path(path).open(encoding="utf-8") as file:
            return apply_dict(yaml.safe_load(file), None)
    with Path(path).open(encoding="utf-8") as file:
        return apply_parser(file)


def apply_dict(config: dict[str, Any], use_colors: bool | None) -> bool:
    from logging.config import dictConfig

    loggers = config.get("loggers", {})
    # Copies: the dict is the caller's, and as often as not the default one.
    formatters = {name: dict(formatter) for name, formatter in config.get("formatters", {}).items()}
    translated = is_uvicorns(loggers)
    if translated or is_shared():
        loggers = {listed(name): logger for name, logger in loggers.items()}
        for formatter in formatters.values():
            for key in ("()", "class"):
                if isinstance(formatter.get(key), str):
                    formatter[key] = UVICORN_FORMATTERS.get(formatter[key], formatter[key])
    if use_colors is not None:
        for name in formatters.keys() & {"default", "access"}:
            formatters[name]["use_colors"] = use_colors
    dictConfig({**config, "loggers": loggers, "formatters": formatters})
    return translated and not is_shared()


def apply_parser(config: RawConfigParser | IO[Any]) -> bool:
    from configparser import ConfigParser, RawConfigParser
    from logging.config import fileConfig

    parser = config if isinstance(config, RawConfigParser) else ConfigParser()
    if parser is not config:
        parser.read_file(config)
    sections = {section: dict(parser.items(section, raw=True)) for section in parser.sections()}
    translated = is_uvicorns(values["qualname"] for values in sections.values() if "qualname" in values)
    if translated or is_shared():
        for section, values in sections.items():
            if "qualname" in values:
                parser.set(section, "qualname", listed(values["qualname"]))
            if values.get("class") in UVICORN_FORMATTERS:
                parser.set(section, "class", UVICORN_FORMATTERS[values["class"]])
    fileConfig(parser, disable_existing_loggers=False)
    return translated and not is_shared()


def is_shared() -> bool:
    """Return whether uvicorn's loggers are those of fastserve (fastserve.compat)."""
    return logging.getLogger("fastserve.error").name != "fastserve.error"


def listed(name: str) -> str:
    """Return the name by which logging lists a logger of fastserve or uvicorn, and any other name as it is."""
    ours = fastserves(name)
    return logging.getLogger(ours).name if ours.partition(".")[0] == "fastserve" else name


def is_uvicorns(names: Iterable[str]) -> bool:
    """Return whether loggers of uvicorn are among the names, and none of fastserve."""
    tops = {name.partition(".")[0] for name in names}
    return "uvicorn" in tops and "fastserve" not in tops
