"""The core's WebSockets after the handshake of an HTTP implementation that is not the core's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from fastserve._core.connection import Connection

if TYPE_CHECKING:
    from fastserve.options.table import Options
    from fastserve.protocols.websockets.contract import Framing
    from fastserve.server_state import ServerState

__all__ = ["WebSocketConnection"]


class WebSocketConnection(Connection):
    """A connection of the core's by uvicorn's protocol contract: the caller passes it transport and handshake."""

    first_protocol: ClassVar[str] = "WebSocket"
    framing: ClassVar[type[Framing] | None] = None  # what makes its frames if the core does not

    def __init__(
        self,
        config: Options,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        assert server_state.worker is not None
        super().__init__(server_state.worker)

    def connection_made(self, transport: Any) -> None:
        """Take the transport, after what it has not written yet."""
        super().connection_made(transport)
        if transport.get_write_buffer_size() and transport.get_extra_info("sslcontext") is None:
            # The core writes past the transport, so it must be told when the transport's queue is empty.
            transport.set_write_buffer_limits(high=0)
            self.pause_writing()
