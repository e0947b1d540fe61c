"""The warning that every client is trusted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastserve.options.table import Options

CHOOSES = (
    "Clients can choose their own address: with --forwarded-allow-ips '*' the first one in %s counts. List the"
    " proxies, with unix: for those on UNIX sockets, or add --forwarded-hops."
)

logger = logging.getLogger("fastserve.error")


def lets_clients_choose(options: Options) -> bool:
    """Return whether clients can choose their own address."""
    named = options.forwarded_hops is not None or options.client_ip_header is not None
    return options.proxy_headers and options.forwarded_allow_ips in ("*", ["*"]) and not named


def warn(options: Options) -> None:
    """Log a warning if every client is trusted."""
    if lets_clients_choose(options):
        logger.warning(CHOOSES, "Forwarded" if options.proxy_headers_family == "forwarded" else "X-Forwarded-For")
