"""The protocol that `ws="websockets"` means, by uvicorn's name for it; a subclass of it cannot be served."""

from __future__ import annotations

from fastserve.protocols.websockets.connection import WebSocketConnection
from fastserve.protocols.websockets_framing import WebSocketsFraming

__all__ = ["WebSocketProtocol"]


class WebSocketProtocol(WebSocketConnection):
    """The core's connection, with frames by the package websockets."""

    framing = WebSocketsFraming
