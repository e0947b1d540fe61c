"""A value of each option that is not its default, as a configuration file has it and as the server sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastserve.options.table import Option
from fastserve.options.values import (
    Binds,
    Boolean,
    Choice,
    Directories,
    File,
    Headers,
    Integer,
    Mode,
    Mounts,
    Number,
    Patterns,
    Seconds,
    Size,
)


def sample(option: Option, folder: Path) -> tuple[str, Any]:
    """Return TOML and the value that it means; files and directories are made in `folder`."""
    kind = option.kind
    if isinstance(kind, Boolean):
        return ("false", False) if option.default else ("true", True)
    if isinstance(kind, Number):
        return str(list(kind.names)[-1]), list(kind.names)[-1]
    if isinstance(kind, Integer):
        number = max(kind.least, option.default or 1) + 1
        return str(number), number
    if isinstance(kind, Seconds):
        return "7.5", 7.5
    if isinstance(kind, Choice):
        name = next(name for name in kind.names if name not in (option.default, "auto"))
        return f'"{name}"', name
    if isinstance(kind, File):
        made = folder / f"{option.param}.json"
        made.write_text("SAMPLE=1\n" if option.param == "env_file" else '{"version": 1}')
        return f"'{made}'", str(made)
    if isinstance(kind, Size):
        return '"2M"', 2 * 2**20
    if isinstance(kind, Mode):
        return '"640"', 0o640
    return more(option, folder)


def more(option: Option, folder: Path) -> tuple[str, Any]:
    kind = option.kind
    if isinstance(kind, Headers):
        return '["X-A: 1", ["X-B", "ü \\"q\\""]]', [("X-A", " 1"), ("X-B", 'ü "q"')]
    if isinstance(kind, Directories):
        return f"['{folder}']", [str(folder)]
    if isinstance(kind, Binds):
        return '["h:1", "unix:/x"]', ["h:1", "unix:/x"]
    if isinstance(kind, Mounts):
        return f"['/s={folder}']", [f"/s={folder}"]
    if isinstance(kind, Patterns):
        return '["*.x", "*.y"]', ["*.x", "*.y"]
    for text in ("/x", "7", "127.0.0.1:7", "on", "json", "0.5"):
        try:
            value = kind.from_file(text)
        except (TypeError, ValueError):
            continue
        if value != option.default:
            return f'"{text}"', value
    raise AssertionError(f"no sample of {option.param}'s kind: add one")


def companions(option: Option) -> dict[str, str]:
    """Return what an option is given with, in TOML, so that nothing contradicts it."""
    if option.param.startswith("ssl_") and option.param != "ssl_certfile":
        return {"ssl_certfile": '"c.pem"'}
    return {
        "uds_permissions": {"uds": '"/x"'},
        "control_socket_mode": {"control_socket": '"/run/control"'},
        "proxy_protocol_from": {"proxy_protocol": '"v1"'},
        "root_path_mode": {"root_path": '"/x"'},
        "queue": {"limit_requests": "5"},
        "queue_timeout": {"limit_requests": "5"},
        "shutdown_green": {"health": '"/healthz"'},
        "static_headers": {"static": '"/static=."'},
        "static_expires": {"static": '"/static=."'},
        "workers_lifetime_jitter": {"workers_lifetime": "9"},
    }.get(option.param, {})
