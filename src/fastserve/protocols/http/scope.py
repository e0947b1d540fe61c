"""The scope of a request that h11 has parsed, with what the core adds to its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import h11

from fastserve.options.table import Options
from fastserve.protocols.http import rules
from fastserve.protocols.http.response import Fields


def scope_of(event: h11.Request, version: bytes, headers: Fields, options: Options, **known: Any) -> dict[str, Any]:
    """Return the scope of a request; `known` are the keys that follow from its connection."""
    raw_path, query = rules.split_target(event.target)
    root_path = options.root_path
    prepended = "" if options.root_path_mode == "given" else root_path
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5" if options.raises_disconnect else "2.3"},
        "http_version": version.decode(),
        "method": event.method.decode(),
        "path": prepended + unquote(raw_path.decode()),
        "raw_path": prepended.encode() + raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": headers,
        **known,
    }
