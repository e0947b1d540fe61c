"""The errors of the core."""

from __future__ import annotations


class ProtocolError(Exception):
    """The client broke the protocol: `status` is that of the response, `reason` is only for the log."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"


class ClientDisconnected(OSError):
    """Raised by send() when the client is gone: on a WebSocket, and with `--disconnect raise` for HTTP.

    Stop sending; the application has done nothing wrong.
    """


class SentAfterClose(ClientDisconnected, RuntimeError):
    """Raised by send() after the application's own websocket.close.

    uvicorn raises a RuntimeError until the client has responded, and ClientDisconnected from then on.
    """


# Exceptions of that meaning: Starlette's two, and Quart's, which it raises `from None`.
OF_FRAMEWORKS = ("ClientDisconnect", "WebSocketDisconnect", "ClientDisconnectedError")


def only_disconnects(exception: BaseException) -> bool:
    """Return whether an exception says only that the client is gone.

    It is of that kind, a group of such, or raised from one: frameworks wrap what send() raises.
    """
    if isinstance(exception, ClientDisconnected):
        return True
    nested = getattr(exception, "exceptions", None)
    if isinstance(nested, tuple) and nested:
        return all(only_disconnects(one) for one in nested)
    if type(exception).__name__ in OF_FRAMEWORKS:
        return True
    return exception.__cause__ is not None and only_disconnects(exception.__cause__)
