"""`--ws websockets`: frames by the sans-I/O layer of the package websockets."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from fastserve._core.errors import ProtocolError
from fastserve.config import Config
from fastserve.logging.formatters import TRACE_LOG_LEVEL
from fastserve.protocols.http.response import STATUS_PHRASES
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
    from websockets.extensions.base import Extension
    from websockets.typing import ExtensionParameter

    from fastserve._core.settings import Settings

__all__ = [
    "STATUS_PHRASES",
    "TRACE_LOG_LEVEL",
    "ClientDisconnected",
    "Config",
    "ServerState",
    "WebSocketsSansIOProtocol",
    "get_client_addr",
    "get_local_addr",
    "get_path_with_query_string",
    "get_remote_addr",
    "is_ssl",
]


# Less memory per connection than the default, as in other servers.
WINDOW_BITS, MEMORY_LEVEL = 12, 5


class QuietFactory(ServerPerMessageDeflateFactory):
    """The library's, without response parameters that the client did not offer: some clients fail on them."""

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        response, extension = super().process_request_params(params, accepted_extensions)
        offered = {name for name, _ in params}
        return [parameter for parameter in response if parameter[0] in offered], extension


class CheckingProtocol(ServerProtocol):
    """The library's, which leaves texts to its user; but invalid text fails as its frames arrive (RFC 6455, 8.1)."""

    _is_text = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text = frame.opcode is Opcode.TEXT
        if self._is_text and frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._decoder.decode(bytes(frame.data), frame.fin)  # the caller closes with 1007 if this raises
        super().recv_frame(frame)


class WebSocketsFraming:
    """A Framing over websockets.server.ServerProtocol."""

    def __init__(self, settings: Settings, offers: list[bytes]) -> None:
        available: Any = []
        if settings.ws_per_message_deflate:
            factory = QuietFactory(
                server_max_window_bits=WINDOW_BITS,
                client_max_window_bits=WINDOW_BITS,
                compress_settings={"memLevel": MEMORY_LEVEL},
            )
            available.append(factory)
        self.protocol = CheckingProtocol(extensions=available, max_size=settings.ws_max_size, state=State.OPEN)
        headers = Headers([("Sec-WebSocket-Extensions", offer.decode("latin-1")) for offer in offers])
        try:
            answer, self.protocol.extensions = self.protocol.process_extensions(headers)
        except InvalidHandshake as exc:
            raise ProtocolError(400, str(exc)) from None
        except ValueError:  # up to version 16, for a window of 256 bytes, which zlib does not support
            answer, self.protocol.extensions = None, []
        self.extensions = None if answer is None else answer.encode("ascii")
        self._kind = Opcode.BINARY  # of the message being read
        self._data = bytearray()

    def receive(self, data: bytes) -> list[Event]:
        """See Framing."""
        events: list[Event] = []
        self.protocol.receive_data(data)
        for frame in self.protocol.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.PONG:
                events.append(("pong", bytes(frame.data)))
            elif frame.opcode is Opcode.CLOSE:
                assert self.protocol.close_rcvd is not None
                return [*events, ("close", int(self.protocol.close_rcvd.code), self.protocol.close_rcvd.reason)]
            elif frame.opcode is not Opcode.PING:
                self._add(frame, events)
        if self.protocol.parser_exc is not None:
            sent = self.protocol.close_sent
            events.append(("fault", 1002, "") if sent is None else ("fault", int(sent.code), sent.reason))
        return events

    def _add(self, frame: Frame, events: list[Event]) -> None:
        if frame.opcode is not Opcode.CONT:
            self._kind = frame.opcode
        self._data += frame.data
        if frame.fin:
            data = bytes(self._data)
            self._data.clear()
            events.append(("text", data.decode()) if self._kind is Opcode.TEXT else ("bytes", data))

    def output(self) -> bytes:
        """See Framing."""
        return b"".join(self.protocol.data_to_send())

    def send_text(self, text: str) -> None:
        """See Framing."""
        self.protocol.send_text(text.encode())

    def send_bytes(self, data: bytes) -> None:
        """See Framing."""
        self.protocol.send_binary(data)

    def ping(self, payload: bytes) -> None:
        """See Framing."""
        self.protocol.send_ping(payload)

    def close(self, code: int, reason: str) -> None:
        """See Framing."""
        self.protocol.send_close(None if code == NO_STATUS else code, reason)


class WebSocketsSansIOProtocol(WebSocketConnection):
    """The core's connection, with frames by the package websockets."""

    framing = WebSocketsFraming
