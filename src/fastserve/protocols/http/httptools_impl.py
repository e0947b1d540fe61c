"""The name under which uvicorn's programs know the fast protocol; here that is the compiled core."""

from __future__ import annotations

import asyncio

__all__ = ["HttpToolsProtocol"]


class HttpToolsProtocol(asyncio.Protocol):
    """Stands for the compiled core where a program passes it as `http`; a subclass of it cannot be served."""

    stands_for_core = True
