"""How options reach the compiled core: by their names, with the defaults of the table and of nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastserve import Config
from fastserve._core.settings import FIELDS
from fastserve.options.core import core_settings
from fastserve.options.table import TABLE, Options

NAMED = sorted(FIELDS & TABLE.keys())
# Those that follow from an option of another name, or from the configuration once it is loaded.
FOLLOWING = {"default_headers", "server", "date", "websocket", "raise_disconnect", "tls", "proxies", "serves_http2"}
FOLLOWING |= {"redirects", "health_path", "request_id_field", "hsts", "path_is_whole", "hosts", "trace"}


def another(name: str) -> Any:
    """Return a valid value of an option that is not its default."""
    default = TABLE[name].default
    if isinstance(default, bool):
        return not default
    return "/x" if isinstance(default, str) else (default or 0) + 1


def test_every_field_is_filled() -> None:
    """A field of Settings has an option's name, or is one of the few that follow from others."""
    assert FIELDS - TABLE.keys() == FOLLOWING
    assert {"limit_request_body", "timeout_write", "ws_max_size", "sendfile", "root_path"} <= set(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_field_of_an_option(name: str) -> None:
    """It gets the option's value, by default that of the table: a row and a field are all that it takes."""
    default = TABLE[name].default
    assert getattr(core_settings(Options("app")), name) == (0 if default is None else default)
    given = another(name)
    options: dict[str, Any] = {"limit_requests": 7} if name.startswith("queue") else {}
    options[name] = given
    assert getattr(core_settings(Options("app", **options)), name) == given
    assert getattr(Config("app", log_config=None, **options).core_settings(), name) == given


@pytest.mark.parametrize("suffix", ["pyx", "pyi"])
@pytest.mark.parametrize("name", sorted({*NAMED} - {"root_path"}))
def test_core_names_an_option_once(name: str, suffix: str) -> None:
    """The declaration in settings.pxd is the only place for it there; root_path is checked for being text."""
    folder = Path(__file__).resolve().parents[2] / "src/fastserve/_core"
    assert name in (folder / "settings.pxd").read_text("utf-8")
    assert name not in (folder / f"settings.{suffix}").read_text("utf-8")


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"server_header": False}, "server", None),
        ({"headers": [("Server", "mine")]}, "server", None),
        ({"headers": [("X-A", "b")]}, "default_headers", ((b"x-a", b"b"),)),
        ({"date_header": False}, "date", False),
        ({"ws": "none"}, "websocket", False),
        ({"http2": False}, "serves_http2", False),
        ({"http": "h11"}, "serves_http2", False),
        ({"http": "llhttp"}, "serves_http2", True),
        ({}, "serves_http2", True),
        ({"disconnect": "raise"}, "raise_disconnect", True),
        ({"interface": "wsgi"}, "raise_disconnect", True),
        ({"timeout_keep_alive": 0}, "timeout_keep_alive", 0.001),
        ({"ws_ping_interval": None}, "ws_ping_interval", 0),
        ({"allowed_hosts": []}, "hosts", None),
        ({"root_path": "/a", "root_path_mode": "given"}, "path_is_whole", True),
        ({"limit_concurrency": None}, "limit_concurrency", 0),
        ({"ssl_hsts": 9}, "hsts", b"max-age=9"),
        ({}, "hsts", None),
    ],
)
def test_fields_that_follow(given: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(core_settings(Options("app", **given)), field) == value


def test_changes_come_last() -> None:
    assert core_settings(Options("app", limit_concurrency=5), limit_concurrency=0).limit_concurrency == 0
