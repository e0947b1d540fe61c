"""Hands a connection over to the protocol that serves its WebSocket, as uvicorn's HTTP protocols do."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

import h11

from fastserve.protocols.http import rules
from fastserve.protocols.http.deadline import Deadline
from fastserve.protocols.http.flow_control import FlowControl
from fastserve.protocols.http.response import Fields
from fastserve.server_state import ServerState

logger = logging.getLogger("fastserve.error")


class Connection(Protocol):
    """The connection that hands a WebSocket over."""

    transport: asyncio.Transport
    flow: FlowControl
    input: bytearray
    connections: set[Any]
    server_state: ServerState
    app_state: dict[str, Any]

    @property
    def write_deadline(self) -> Deadline: ...

    @property
    def config(self) -> Any: ...  # what `ws_protocol_class` takes as its configuration


def hand_over(connection: Connection, request: h11.Request, headers: Fields) -> None:
    """Hand the transport over to a `ws_protocol_class`, with the request and all that followed it."""
    path, query = rules.split_target(request.target)  # Host has the rest of the target
    target = b"%b?%b" % (path, query) if query else path
    lines = [b"%b %b HTTP/1.1" % (request.method, target), *(b"%b: %b" % pair for pair in headers), b"", b""]
    received = b"\r\n".join(lines) + bytes(connection.input)
    transport, contract = connection.transport, connection.config.ws_protocol_class
    connection.connections.discard(connection)
    connection.flow.resume_reading()
    connection.write_deadline.stop()
    try:
        assert contract is not None
        successor: Any = contract(
            config=connection.config, server_state=connection.server_state, app_state=connection.app_state
        )
        successor.connection_made(transport)
        transport.set_protocol(successor)
        if connection.flow.write_paused:
            successor.pause_writing()
        successor.data_received(received)
    except Exception:
        logger.exception("Exception in connection")
        transport.abort()
