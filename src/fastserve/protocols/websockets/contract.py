"""What the core asks of a library that makes and reads the frames of a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fastserve._core.settings import Settings

# ("text", str), ("bytes", bytes): a whole message. ("pong", bytes): its payload.
# ("close", int, str): the client's close frame, 1005 where it has no code.
# ("fault", int, str): what the connection is closed with. Nothing follows the last two.
Event = tuple[str, str] | tuple[str, bytes] | tuple[str, int, str]


class Framing(Protocol):
    """The frames of one WebSocket whose handshake the core does; `--ws module:Class` names a class like this.

    It is made when a handshake has come, with the values of its Sec-WebSocket-Extensions fields, and raises
    ProtocolError(400) if they are malformed. A method that has frames to send, the answers to pings and close frames
    included, leaves them to output(), which the core calls after each. One that raises ends the connection.
    """

    extensions: bytes | None  # the response's Sec-WebSocket-Extensions

    def __init__(self, settings: Settings, offers: list[bytes]) -> None: ...

    def receive(self, data: bytes) -> list[Event]:
        """Return what the client's next bytes complete; Settings.ws_max_size is for this to keep."""

    def output(self) -> bytes:
        """Return the bytes to send, once."""

    def send_text(self, text: str) -> None: ...

    def send_bytes(self, data: bytes) -> None: ...

    def ping(self, payload: bytes) -> None: ...

    def close(self, code: int, reason: str) -> None: ...
