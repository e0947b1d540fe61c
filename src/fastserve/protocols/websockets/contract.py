"""What the core asks of a library that makes and reads the frames of a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fastserve._core.settings import Settings

NO_STATUS = 1005  # stands for a close frame without a code

# ("text", str), ("bytes", bytes): a whole message. ("pong", bytes): its payload.
# ("close", int, str): the client's close frame, NO_STATUS if it has no code.
# ("fault", int, str): what to close the connection with. Nothing follows the last two.
Event = tuple[str, str] | tuple[str, bytes] | tuple[str, int, str]


class Framing(Protocol):
    """The frames of one WebSocket whose handshake the core handles; `--ws module:Class` names a class like this.

    It is made for each handshake, with the values of its Sec-WebSocket-Extensions fields, and raises
    ProtocolError(400) if they are malformed. A method that has frames to send, including the responses to pings and
    close frames, leaves them to output(), which the core calls after each method. A method that raises ends the
    connection. With a true class attribute `quiet` the log has no lines `connection open`, `connection closed` and
    `connection rejected`, as in uvicorn it has none with wsproto.
    """

    extensions: bytes | None  # the response's Sec-WebSocket-Extensions

    def __init__(self, settings: Settings, offers: list[bytes]) -> None: ...

    def receive(self, data: bytes) -> list[Event]:
        """Return what the client's next bytes complete. It must enforce Settings.ws_max_size."""

    def output(self) -> bytes:
        """Return the bytes to send, once."""

    def send_text(self, text: str) -> None: ...

    def send_bytes(self, data: bytes) -> None: ...

    def ping(self, payload: bytes) -> None: ...

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, for NO_STATUS one without a code."""
