"""What the options come to, and where each value comes from: as TOML that --config takes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from fastserve.options import environment
from fastserve.options.conflicts import check
from fastserve.options.table import GROUPS, OPTIONS, Option, Options
from fastserve.options.values import Headers, Mode

SECRETS = {"ssl_keyfile_password"}
MASK = "********"


def lines(app: str, given: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[str]:
    """Yield TOML with a line for each option; what TOML cannot say, and what is secret, stands in comments.

    `sources` has "command", "environment" or "file" by parameter. Raises OptionError for invalid values and
    contradictions, ConfigError for an env_file that cannot be used.
    """
    options = Options(app, **given)
    check(options)
    if options.env_file is not None:
        environment.load_env_file(options.env_file)
    found = dict(sources)
    values = {option.param: getattr(options, option.param) for option in OPTIONS}
    for param, variable, read in (
        ("workers", "WEB_CONCURRENCY", environment.workers),
        ("forwarded_allow_ips", "FORWARDED_ALLOW_IPS", environment.forwarded_allow_ips),
    ):
        if values[param] is None:
            values[param] = read()
            found[param] = "environment" if os.environ.get(variable) is not None else "default"
    yield f"app = {text(app)}  # from {found.get('app', 'default')}"
    for group in GROUPS:
        yield ""
        yield f"# {group}"
        for option in OPTIONS:
            if option.group == group:
                yield f"{line(option, values[option.param])}  # from {found.get(option.param, 'default')}"


def line(option: Option, value: Any) -> str:
    """Return the line of an option without its source."""
    name = option.param
    if value is None or value == []:
        return f"# {name}: none"
    if isinstance(value, dict):
        return f"# {name}: fastserve's own"
    if name in SECRETS:
        return f"# {name} = {text(MASK)}"
    if isinstance(option.kind, Mode):
        value = f"{value:o}"
    elif isinstance(option.kind, Headers):
        value = [":".join(pair) for pair in value]
    written = toml(value)
    try:
        written.encode()
    except UnicodeEncodeError:  # a path in bytes that are not UTF-8
        return f"# {name} = {value!a}"
    return f"{name} = {written}"


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return text(os.fspath(value)) if isinstance(value, str | os.PathLike) else repr(value)


def text(value: str) -> str:
    """Return a string of TOML, whose escapes are JSON's except that JSON leaves DEL as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
