"""The protocol that `ws="websockets-sansio"` means, by uvicorn's name for it; a subclass of it cannot be served."""

from __future__ import annotations

from fastserve.config import Config
from fastserve.logs import TRACE_LOG_LEVEL
from fastserve.protocols.http.response import STATUS_PHRASES
from fastserve.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_local_addr,
    get_path_with_query_string,
    get_remote_addr,
    is_ssl,
)
from fastserve.protocols.websockets.connection import WebSocketConnection
from fastserve.protocols.websockets_framing import WebSocketsFraming
from fastserve.server_state import ServerState

__all__ = [
    "STATUS_PHRASES",
    "TRACE_LOG_LEVEL",
    "ClientDisconnected",
    "Config",
    "ServerState",
    "WebSocketsSansIOProtocol",
    "get_client_addr",
    "get_local_addr",
    "get_path_with_query_string",
    "get_remote_addr",
    "is_ssl",
]


class WebSocketsSansIOProtocol(WebSocketConnection):
    """The core's connection, with frames by the package websockets."""

    framing = WebSocketsFraming
