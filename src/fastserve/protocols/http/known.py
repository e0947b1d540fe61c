"""What programs know from uvicorn's modules of HTTP protocols besides the protocols; import its __getattr__ there."""

from __future__ import annotations

from typing import Any

from fastserve.config import Config
from fastserve.logging.formatters import TRACE_LOG_LEVEL
from fastserve.protocols.http.exchange import HttpExchange as RequestResponseCycle
from fastserve.protocols.http.flow_control import CLOSE_HEADER, HIGH_WATER_LIMIT, FlowControl, service_unavailable
from fastserve.protocols.http.response import STATUS_PHRASES
from fastserve.protocols.utils import (
    get_client_addr,
    get_local_addr,
    get_path_with_query_string,
    get_remote_addr,
    is_ssl,
)
from fastserve.server_state import ServerState

__all__ = [
    "CLOSE_HEADER",
    "HIGH_WATER_LIMIT",
    "STATUS_PHRASES",
    "TRACE_LOG_LEVEL",
    "Config",
    "FlowControl",
    "RequestResponseCycle",
    "ServerState",
    "get_client_addr",
    "get_local_addr",
    "get_path_with_query_string",
    "get_remote_addr",
    "is_ssl",
    "service_unavailable",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return globals()[name]
    raise AttributeError(f"no module of HTTP protocols has an attribute {name!r}")
