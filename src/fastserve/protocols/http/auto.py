"""The protocol of `http="auto"`, under uvicorn's name."""

from __future__ import annotations

from fastserve.protocols.http.httptools_impl import HttpToolsProtocol as AutoHTTPProtocol

__all__ = ["AutoHTTPProtocol"]
