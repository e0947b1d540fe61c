"""The protocol that `ws="wsproto"` means, by uvicorn's name for it; a subclass of it cannot be served."""

from __future__ import annotations

from fastserve.protocols.websockets.connection import WebSocketConnection
from fastserve.protocols.wsproto_framing import WsprotoFraming

__all__ = ["WSProtocol"]


class WSProtocol(WebSocketConnection):
    """The core's connection, with frames by the package wsproto."""

    framing = WsprotoFraming
