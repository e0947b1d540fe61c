"""An HTTP/2 client of a few requests, to see that a server does what it is going to be measured at."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Iterator

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from bench.load.frames import Wrong
from bench.load.rows import Request

_READ = 1 << 18
_WINDOW = 1 << 24
_CONNECTION_ONLY = {"connection", "keep-alive", "upgrade", "host"}  # fields that HTTP/2 does not have


class Client:
    """A connection by prior knowledge, or after ALPN. What is wrong with the server's frames is raised as Wrong."""

    def __init__(self, connection: socket.socket, scheme: str = "http", window: int = _WINDOW) -> None:
        self.socket = connection
        self.scheme = scheme
        self.found: deque[Event] = deque()
        self.state = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        values = {SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.ENABLE_PUSH: 0}
        self.state.local_settings = Settings(client=True, initial_values=values)
        self.state.initiate_connection()
        self.state.increment_flow_control_window(_WINDOW)
        self._flush()

    def exchange(self, request: Request) -> tuple[int, int, bytes]:
        """Send a request; return the response's status, its number of headers, and its body."""
        stream = self.send(request)
        status, headers, body = 0, 0, bytearray()
        for event in self.events():
            if isinstance(event, ResponseReceived):
                fields = list(event.headers or ())
                status, headers = int(fields[0][1]), len(fields) - 1  # :status comes first
            elif isinstance(event, DataReceived):
                body += event.data or b""
                self.state.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            elif isinstance(event, StreamEnded):
                return status, headers, bytes(body)
            elif isinstance(event, StreamReset):
                raise Wrong(f"stream reset with code {event.error_code}")
        raise Wrong("the connection was closed before the response was complete")

    def send(self, request: Request) -> int:
        """Send a request, all of it; return its stream."""
        port = self.socket.getpeername()[1]
        fields = [
            (":method", request.method),
            (":scheme", self.scheme),
            (":authority", f"127.0.0.1:{port}"),
            (":path", request.path),
            *((name.lower(), value) for name, value in request.headers if name.lower() not in _CONNECTION_ONLY),
        ]
        with _faults():
            stream = self.state.get_next_available_stream_id()
            if request.body:
                fields.append(("content-length", str(request.body)))
            self.state.send_headers(stream, fields, end_stream=not request.body)
            left = request.body
            while left:
                size = min(left, self.state.local_flow_control_window(stream), self.state.max_outbound_frame_size)
                if size <= 0:
                    if not self._receive():
                        raise Wrong("the connection was closed before the request was complete")
                    continue
                left -= size
                self.state.send_data(stream, b"x" * size, end_stream=not left)
                self._flush()
        self._flush()
        return stream

    def events(self) -> Iterator[Event]:
        """Yield what comes until the server closes the connection."""
        while self.found or self._receive():
            while self.found:
                yield self.found.popleft()

    def _receive(self) -> bool:
        """Wait for bytes, and note the events that they are; return whether any came."""
        self._flush()
        data = self.socket.recv(_READ)
        with _faults():
            self.found.extend(self.state.receive_data(data))
        return bool(data)

    def settle(self) -> None:
        """Return once the server's settings are known."""
        while not any(isinstance(event, RemoteSettingsChanged) for event in self.found):
            if not self._receive():
                raise Wrong("the connection was closed before any settings came")

    @property
    def streams(self) -> int:
        """How many requests the server takes at a time."""
        return self.state.remote_settings.max_concurrent_streams

    def ping(self) -> None:
        """Return once the server has answered: the connection is alive."""
        with _faults():
            self.state.ping(b"is alive")
        for event in self.events():
            if isinstance(event, PingAckReceived):
                return
        raise Wrong("the connection was closed")

    def _flush(self) -> None:
        data = self.state.data_to_send()
        if data:
            self.socket.sendall(data)


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except ProtocolError as error:
        raise Wrong(f"not HTTP/2: {error!r}") from error
