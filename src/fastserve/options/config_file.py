"""Options in a file: fastserve.toml, or [tool.fastserve] of pyproject.toml. Only the command reads it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from fastserve.logging.log_config import ConfigError
from fastserve.options.table import TABLE, OptionError

OWN, SHARED = "fastserve.toml", "pyproject.toml"
SECTION = "[tool.fastserve]"
KEYS = {"app": None, **{name: row for name, row in TABLE.items() if row.group}}
# What the environment also says by variables without FASTSERVE_: a file must not override it.
VARIABLES = {"workers": "WEB_CONCURRENCY", "forwarded_allow_ips": "FORWARDED_ALLOW_IPS"}
# The ways to say where to listen. One of them on the command line replaces those that the file names.
PLACES = (("bind",), ("uds",), ("fd",), ("host", "port"))

in_use: ContextVar[str] = ContextVar("in_use", default="")  # the name of the file whose options the server runs with


class ConfigFile(NamedTuple):
    """A file of options that has been read; `values` are by parameter, and each is one that Config takes."""

    name: str  # for messages
    values: dict[str, Any]


def read(path: str) -> ConfigFile:
    """Return the options of the file that `--config` names.

    Raises ConfigError if the file cannot be used, OptionError for an unknown key or an invalid value.
    """
    section = SECTION if os.path.basename(path) == SHARED else ""  # noqa: PTH119  # pathlib would be imported for it
    found = read_section(path, section)
    if found is None:
        raise ConfigError(f"config '{path}' cannot be used: it has no {SECTION}")
    return found


def find() -> ConfigFile | None:
    """Return the options of the file in the current directory, None without one. Raises as read() does."""
    for path, section in ((OWN, ""), (SHARED, SECTION)):
        if os.path.exists(path):  # noqa: PTH110
            found = read_section(path, section)
            if found is not None:
                return found
    return None


def read_section(path: str, section: str) -> ConfigFile | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read()
    except OSError as exc:
        raise ConfigError(f"config '{path}' cannot be read: {(exc.strerror or str(exc)).lower()}") from exc
    if section and b"fastserve" not in data:
        return None  # most projects have a pyproject.toml: parsing it for nothing would slow every start
    table: Any = parsed(path, data)
    if section:
        table = table.get("tool", {}).get("fastserve")
        if table is None:
            return None
    name = f"{section} of {path}" if section else path
    if not isinstance(table, dict):
        raise OptionError(f"{name}: expected a table")
    return ConfigFile(name, dict(options_of(name, table)))


def parsed(path: str, data: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        table: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"config '{path}' cannot be used: {exc}") from exc
    return table


def options_of(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield parameters and values. Raises OptionError."""
    seen: dict[str, str] = {}
    for key, value in table.items():
        param = key.replace("-", "_")
        if param not in KEYS and isinstance(value, dict):
            raise OptionError(f"{name}: unknown table '{key}': options are keys, and in no table of their own")
        if param not in KEYS:
            raise OptionError(f"{name}: unknown key '{key}'{suggestion(key)}")
        if param in seen:
            raise OptionError(f"{name}: '{seen[param]}' and '{key}' are one key: leave one out")
        seen[param] = key
        try:
            yield param, value_of(param, value)
        except (TypeError, ValueError) as exc:
            raise OptionError(f"{name}: {key}: {exc}") from None


def value_of(param: str, value: Any) -> Any:
    row = KEYS[param]
    if row is not None:
        return row.kind.from_file(value)
    if not isinstance(value, str):
        raise TypeError(f'{value!r}: expected a string, as in "module:attribute"')
    return value


def suggestion(key: str) -> str:
    """Return what to say after the name of an unknown key."""
    import difflib

    param = key.replace("-", "_")
    if param in TABLE:
        return ": it is for programs, which give it to Config"
    near = difflib.get_close_matches(param.removeprefix("no_"), list(KEYS), n=1)
    if not near:
        return ": see fastserve --help for the options"
    shown = near[0] if "_" in key else near[0].replace("_", "-")
    false = f" ({shown} = false)" if param == f"no_{near[0]}" else ""
    return f": did you mean '{shown}'{false}?"


def without_overridden(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that no variable without FASTSERVE_ overrides."""
    return {param: value for param, value in values.items() if not environ.get(VARIABLES.get(param, ""))}


def replaced_places(given: set[str], filed: set[str]) -> set[str]:
    """Return which of the parameters `filed` in a file say where to listen in a way that those `given` replace."""
    said = [family for family in PLACES if given & set(family)]
    if not said:
        return set()
    return {param for family in PLACES if family not in said for param in family} & filed
