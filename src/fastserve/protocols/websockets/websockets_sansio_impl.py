"""The protocol that `ws="websockets-sansio"` means, by uvicorn's name for it; a subclass of it cannot be served."""

from __future__ import annotations

from fastserve.protocols.websockets.connection import WebSocketConnection
from fastserve.protocols.websockets_framing import WebSocketsFraming

__all__ = ["WebSocketsSansIOProtocol"]


class WebSocketsSansIOProtocol(WebSocketConnection):
    """The core's connection, with frames by the package websockets."""

    framing = WebSocketsFraming
