"""The errors of the core."""


class ProtocolError(Exception):
    """The client broke the protocol: `status` is what it is answered, `reason` is for the log alone."""

    def __init__(self, status, reason):
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self):
        return f"{self.status}: {self.reason}"


class ClientDisconnected(OSError):
    """Raised by send() when the client is gone: on a WebSocket, and with `--disconnect raise` for HTTP.

    Stop sending; the application has done nothing wrong.
    """
