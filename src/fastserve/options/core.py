"""The compiled core's copy of the options that concern it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastserve.logging.formatters import TRACE_LOG_LEVEL
from fastserve.options.table import TABLE, Options

if TYPE_CHECKING:
    from fastserve._core.settings import Settings
    from fastserve.proxies.hosts import AllowedHosts

AT_ONCE = 0.001  # seconds: a timeout_keep_alive of 0 closes at once, while 0 means never to the core

UNLIMITED = 2**62 - 1  # as programs for uvicorn ask for by None

logger = logging.getLogger("fastserve.error")

HeaderList = list[tuple[bytes, bytes]]


def core_settings(options: Options, **changes: Any) -> Settings:
    """Return the settings that follow from options; `changes` are fields whose values come from elsewhere.

    A field that has an option's name gets the option's value, with 0 for None.
    """
    from fastserve._core.settings import FIELDS, Settings

    values: dict[str, Any] = {name: getattr(options, name) for name in FIELDS & TABLE.keys()}
    values = {name: 0 if value is None else value for name, value in values.items()}
    values |= {
        "default_headers": own_headers(options),
        "server": b"fastserve" if options.server_header else None,
        "date": options.date_header,
        "timeout_keep_alive": options.timeout_keep_alive or AT_ONCE,
        "websocket": options.ws != "none",
        "ws_max_size": UNLIMITED if options.ws_max_size is None else options.ws_max_size,
        "ws_max_queue": UNLIMITED if options.ws_max_queue is None else options.ws_max_queue,
        "redirects": False,
        "trace": logger.isEnabledFor(TRACE_LOG_LEVEL),
        "serves_http2": options.serves_http2,
        "raise_disconnect": options.raises_disconnect,
        "health_path": options.health.encode() if options.health else None,
        "hsts": str(options.ssl_hsts).encode() if options.ssl_hsts is not None else None,
        "tls": None,
        "proxies": None,
        "hosts": allowed_hosts(options),
        "path_is_whole": options.root_path_mode == "given",
        "request_id_field": options.request_id_header.lower().encode() if options.request_id_header else None,
    }
    return Settings(**values | changes)


def allowed_hosts(options: Options) -> AllowedHosts | None:
    """Return the hosts that requests may be for, None for any."""
    if not options.allowed_hosts:
        return None
    from fastserve.proxies.hosts import AllowedHosts

    return AllowedHosts(options.allowed_hosts)


def own_headers(options: Options) -> HeaderList:
    """Return the headers that the options add to every response, in bytes."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in options.headers or []]


def default_headers(options: Options) -> HeaderList:
    """Return the same with Server, unless it is switched off or among them."""
    headers = own_headers(options)
    named = any(name == b"server" for name, _ in headers)
    return headers if named or not options.server_header else [(b"server", b"fastserve"), *headers]
