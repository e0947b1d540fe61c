"""`--ws websockets`: frames by the sans-I/O layer of the package websockets."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from fastserve._core.errors import ProtocolError

if TYPE_CHECKING:
    from fastserve._core.settings import Settings
    from fastserve.protocols.framing import Event

# Less memory a connection than the default, as other servers have it.
WINDOW_BITS, MEMORY_LEVEL = 12, 5


class WebSocketsFraming:
    """A Framing over websockets.server.ServerProtocol."""

    def __init__(self, settings: Settings, offers: list[bytes]) -> None:
        available: Any = []
        if settings.ws_per_message_deflate:
            factory = ServerPerMessageDeflateFactory(
                server_max_window_bits=WINDOW_BITS,
                client_max_window_bits=WINDOW_BITS,
                compress_settings={"memLevel": MEMORY_LEVEL},
            )
            available.append(factory)
        self.protocol = ServerProtocol(extensions=available, max_size=settings.ws_max_size, state=State.OPEN)
        headers = Headers([("Sec-WebSocket-Extensions", offer.decode("latin-1")) for offer in offers])
        try:
            answer, self.protocol.extensions = self.protocol.process_extensions(headers)
        except InvalidHandshake as exc:
            raise ProtocolError(400, str(exc)) from None
        self.extensions = None if answer is None else answer.encode("ascii")
        self._kind = Opcode.BINARY  # of the message being read
        self._data = bytearray()
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

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
                try:
                    self._add(frame, events)
                except UnicodeDecodeError:
                    self.protocol.fail(1007, "invalid UTF-8")
                    return [*events, ("fault", 1007, "invalid UTF-8")]
        if self.protocol.parser_exc is not None:
            sent = self.protocol.close_sent
            events.append(("fault", 1002, "") if sent is None else ("fault", int(sent.code), sent.reason))
        return events

    def _add(self, frame: Frame, events: list[Event]) -> None:
        if frame.opcode is not Opcode.CONT:
            self._kind = frame.opcode
        if self._kind is Opcode.TEXT:
            self._text += self._decoder.decode(bytes(frame.data), frame.fin)
            if frame.fin:
                events.append(("text", self._text))
                self._text = ""
        elif frame.fin:
            events.append(("bytes", bytes(self._data + frame.data)))
            self._data.clear()
        else:
            self._data += frame.data

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
        self.protocol.send_close(code, reason)
