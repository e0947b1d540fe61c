"""The protocol of `ws="auto"`, under uvicorn's name."""

from __future__ import annotations

from fastserve.protocols.websockets.connection import WebSocketConnection as AutoWebSocketsProtocol

__all__ = ["AutoWebSocketsProtocol"]
