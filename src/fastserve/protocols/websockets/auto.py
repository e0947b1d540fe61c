"""The protocol that `ws="auto"` means, by uvicorn's name for it."""

from __future__ import annotations

from fastserve.protocols.websockets.connection import WebSocketConnection as AutoWebSocketsProtocol

__all__ = ["AutoWebSocketsProtocol"]
