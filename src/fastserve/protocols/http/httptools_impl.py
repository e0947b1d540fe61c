"""The names that uvicorn has for the fast protocol and its parts; here that is the compiled core."""

from __future__ import annotations

import asyncio

from fastserve._core.http.exchange import HttpExchange as RequestResponseCycle
from fastserve.protocols.http.known import __getattr__  # noqa: F401
from fastserve.protocols.http.response import STATUS_PHRASES

__all__ = ["STATUS_LINE", "HttpToolsProtocol", "RequestResponseCycle"]

STATUS_LINE = {status: b"HTTP/1.1 %d %s\r\n" % (status, phrase) for status, phrase in STATUS_PHRASES.items()}


class HttpToolsProtocol(asyncio.Protocol):
    """Stands for the compiled core if a program passes it as `http`. A subclass of it cannot be served."""

    stands_for_core = True
