"""`--ws wsproto`: frames by the package wsproto.

It inflates all its input before the size of the message can be checked, so it is given little at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.events import Event as LibraryEvent
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import RemoteProtocolError

from fastserve._core.errors import ProtocolError
from fastserve.config import Config
from fastserve.logging.formatters import TRACE_LOG_LEVEL
from fastserve.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_local_addr,
    get_path_with_query_string,
    get_remote_addr,
    is_ssl,
)
from fastserve.protocols.websockets.connection import WebSocketConnection
from fastserve.protocols.websockets.contract import NO_STATUS, Event
from fastserve.server_state import ServerState

if TYPE_CHECKING:
    from fastserve._core.settings import Settings

TOO_BIG = "message too big"
PIECE = 4096  # bytes of compressed payload, which may inflate to a thousand times as many

__all__ = [
    "TRACE_LOG_LEVEL",
    "ClientDisconnected",
    "Config",
    "ServerState",
    "WSProtocol",
    "get_client_addr",
    "get_local_addr",
    "get_path_with_query_string",
    "get_remote_addr",
    "is_ssl",
]


class WsprotoFraming:
    """A Framing over wsproto.connection.Connection."""

    quiet: ClassVar[bool] = True

    def __init__(self, settings: Settings, offers: list[bytes]) -> None:
        available: list[Extension] = [PerMessageDeflate()] if settings.ws_per_message_deflate else []
        asked = [each.strip() for offer in offers for each in offer.decode("latin-1").split(",")]
        try:
            self.extensions = server_extensions_handshake(asked, available)
        except ValueError as exc:
            raise ProtocolError(400, str(exc)) from None
        used = [extension for extension in available if extension.enabled()]
        self.connection = Connection(ConnectionType.SERVER, used)
        self._limit = settings.ws_max_size
        self._data = bytearray()  # of the message being read
        self._output = bytearray()

    def receive(self, data: bytes) -> list[Event]:
        """See Framing."""
        events: list[Event] = []
        size = len(data) if self.extensions is None else PIECE
        for at in range(0, len(data), size):
            if self._receive(data[at : at + size], events):
                break
        return events

    def _receive(self, data: bytes, events: list[Event]) -> bool:
        """Note the events in these bytes. Return true if nothing follows."""
        self.connection.receive_data(data)
        try:
            return any(self._take(event, events) for event in self.connection.events())
        except RemoteProtocolError as exc:
            hint = exc.event_hint
            code = int(hint.code) if isinstance(hint, CloseConnection) else 1002
            self._fail(events, code, str(exc))
            return True

    def _take(self, event: LibraryEvent, events: list[Event]) -> bool:
        """Note an event of the library. Return true for the last one."""
        if isinstance(event, TextMessage):
            self._data += event.data.encode()
        elif isinstance(event, BytesMessage):
            self._data += event.data
        elif isinstance(event, Ping):
            if self.connection.state is ConnectionState.OPEN:
                self._send(event.response())
        elif isinstance(event, Pong):
            events.append(("pong", bytes(event.payload)))
        elif isinstance(event, CloseConnection):
            if self.connection.state is ConnectionState.OPEN:  # else the library's, for a frame that it has sent
                self._fail(events, int(event.code), event.reason or "")
                return True
            if self.connection.state is ConnectionState.REMOTE_CLOSING:
                self._send(event.response())
            events.append(("close", int(event.code), event.reason or ""))
            return True
        if len(self._data) > self._limit:
            self._fail(events, 1009, TOO_BIG)
            return True
        if isinstance(event, TextMessage | BytesMessage) and event.message_finished:
            data = bytes(self._data)
            self._data.clear()
            events.append(("text", data.decode()) if isinstance(event, TextMessage) else ("bytes", data))
        return False

    def _fail(self, events: list[Event], code: int, reason: str) -> None:
        if code == 1007:
            reason = "invalid data"  # the library's own text depends on how the data was cut
        if self.connection.state is ConnectionState.OPEN:
            self._send(CloseConnection(code=code, reason=reason))
        events.append(("fault", code, reason))

    def _send(self, event: LibraryEvent) -> None:
        self._output += self.connection.send(event)

    def output(self) -> bytes:
        """See Framing."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def send_text(self, text: str) -> None:
        """See Framing."""
        self._send(TextMessage(data=text))

    def send_bytes(self, data: bytes) -> None:
        """See Framing."""
        self._send(BytesMessage(data=data))

    def ping(self, payload: bytes) -> None:
        """See Framing."""
        self._send(Ping(payload=payload))

    def close(self, code: int, reason: str) -> None:
        """See Framing."""
        # None makes a close frame without a code, which the annotation leaves out.
        self._send(CloseConnection(code=None if code == NO_STATUS else code, reason=reason))  # type: ignore[arg-type]


class WSProtocol(WebSocketConnection):
    """The core's connection, with frames by the package wsproto."""

    framing = WsprotoFraming
