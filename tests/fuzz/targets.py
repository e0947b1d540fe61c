"""The fuzz targets by name; a new one is a module with a TARGET, and a line here."""

from __future__ import annotations

from fuzz import (
    connection_target,
    forwarded_target,
    frames_target,
    hpack_target,
    http2_target,
    parser_target,
    proxy_target,
    wsframe_target,
)
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    each.name: each
    for each in (
        parser_target.TARGET,
        connection_target.TARGET,
        http2_target.TARGET,
        frames_target.TARGET,
        wsframe_target.TARGET,
        hpack_target.TARGET,
        proxy_target.TARGET,
        forwarded_target.TARGET,
    )
}
