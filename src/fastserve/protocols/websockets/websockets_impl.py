"""The protocol of `ws="websockets"`, under uvicorn's name. A subclass of it cannot be served."""

from __future__ import annotations

from fastserve.config import Config, UvicornDeprecationWarning
from fastserve.logging.formatters import TRACE_LOG_LEVEL
from fastserve.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_local_addr,
    get_path_with_query_string,
    get_remote_addr,
    is_ssl,
)
from fastserve.protocols.websockets.connection import WebSocketConnection
from fastserve.protocols.websockets.websockets_sansio_impl import WebSocketsFraming
from fastserve.server_state import ServerState

__all__ = [
    "TRACE_LOG_LEVEL",
    "ClientDisconnected",
    "Config",
    "ServerState",
    "UvicornDeprecationWarning",
    "WebSocketProtocol",
    "get_client_addr",
    "get_local_addr",
    "get_path_with_query_string",
    "get_remote_addr",
    "is_ssl",
]


class WebSocketProtocol(WebSocketConnection):
    """The core's connection, with frames by the package websockets."""

    framing = WebSocketsFraming
