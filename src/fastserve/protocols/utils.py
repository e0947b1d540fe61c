"""What a protocol class asks of its transport, and logs of a scope."""

from __future__ import annotations

import urllib.parse
from typing import Any

from fastserve._core.errors import ClientDisconnected
from fastserve._core.http.proxies import plain_host

__all__ = [
    "ClientDisconnected",
    "get_client_addr",
    "get_local_addr",
    "get_path_with_query_string",
    "get_remote_addr",
    "is_ssl",
]

VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


def get_remote_addr(transport: Any) -> tuple[str, int] | None:
    """Return the client's (host, port), None on a UNIX socket."""
    name = transport.get_extra_info("peername")
    return (plain_host(str(name[0])), int(name[1])) if isinstance(name, list | tuple) and len(name) >= 2 else None


def get_local_addr(transport: Any) -> tuple[str, int | None] | None:
    """Return the server's (host, port), (path, None) on a UNIX socket, or None if it has no name."""
    name = transport.get_extra_info("sockname")
    if isinstance(name, list | tuple) and len(name) >= 2:
        return (plain_host(str(name[0])), int(name[1]))
    if name and isinstance(name, str | bytes):
        return (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"), None)
    return None


def is_ssl(transport: Any) -> bool:
    """Return whether the connection is encrypted."""
    return bool(transport.get_extra_info("sslcontext"))


def get_client_addr(scope: Any) -> str:
    """Return the client of a scope as the access log shows it: "host:port", or "" on a UNIX socket."""
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""


def get_path_with_query_string(scope: Any) -> str:
    """Return path and query of a scope for the access log, percent-encoded: no line contains a control byte."""
    path = urllib.parse.quote(scope["path"].encode("utf-8", "replace"))
    query = scope["query_string"]
    return f"{path}?{urllib.parse.quote(query, safe=VISIBLE)}" if query else path
