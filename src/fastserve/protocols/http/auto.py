"""The protocol that `http="auto"` means, by uvicorn's name for it."""

from __future__ import annotations

from fastserve.protocols.http.httptools_impl import HttpToolsProtocol as AutoHTTPProtocol

__all__ = ["AutoHTTPProtocol"]
