"""The request as the application sees it, as plain data for the page and for /json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastserve.demo.asgi import Scope


def describe(scope: Scope) -> dict[str, Any]:
    """Return the HTTP scope as JSON can hold it: bytes become text by latin-1, so that nothing is lost."""
    query_string: bytes = scope["query_string"]
    raw_path: bytes | None = scope.get("raw_path")
    return {
        "method": scope["method"],
        "path": scope["path"],
        "raw_path": None if raw_path is None else raw_path.decode("latin-1"),
        "query_string": query_string.decode("latin-1"),
        "query": parameters(scope),
        "http_version": scope["http_version"],
        "scheme": scope["scheme"],
        "root_path": scope.get("root_path", ""),
        "client": scope.get("client"),
        "server": scope.get("server"),
        "headers": headers(scope),
        "asgi": dict(scope["asgi"]),
        "extensions": _plain(scope.get("extensions") or {}),
        "state": _plain(scope.get("state") or {}),
    }


def headers(scope: Scope) -> list[tuple[str, str]]:
    """Return the header fields in the order of their arrival."""
    return [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in scope["headers"]]


def parameters(scope: Scope) -> list[tuple[str, str]]:
    """Return the query's parameters, decoded, in order; those without a value have an empty one."""
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, errors="replace")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): dict(value) if isinstance(value, Mapping) else str(value) for key, value in values.items()}
