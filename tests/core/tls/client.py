"""A client with TLS of a FakeWorker, without sockets: OpenSSL on both sides, and a test carries every byte."""

from __future__ import annotations

import _ssl
import contextlib
import ctypes
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from fakes.worker import FakeTransport, FakeWorker
from tls.pki import Pki

from fastserve._core.connection import Connection
from fastserve._core.tls.transport import TlsServer
from fastserve.net.tls import create_ssl_context

SECONDS = 10.0  # for a handshake
LIBRARY = ctypes.CDLL(getattr(_ssl, "__file__", None))
UPDATES_KEYS = hasattr(LIBRARY, "SSL_key_update")  # not where OpenSSL is part of a module, with its functions hidden


class Secure:
    """`transport` is the plain one of the server, `tls` the client's SSLObject.

    With `sockets`, the server writes to the first, and the client reads from the second.
    """

    def __init__(
        self,
        wire: FakeWorker,
        pki: Pki,
        make: Callable[[], Any] | None = None,
        sockets: tuple[socket.socket, socket.socket] | None = None,
        **changes: Any,
    ) -> None:
        self.wire = wire
        context = create_ssl_context(pki.certificate, pki.key, None, ssl.PROTOCOL_TLS_SERVER, 0, None, None)
        self.connection: Any = None

        def make_connection() -> Any:
            self.connection = Connection(wire.worker)
            return self.connection

        self.socket = None if sockets is None else sockets[1]
        self.transport = FakeTransport(wire.loop, **({} if sockets is None else {"socket": sockets[0]}))
        self.server = TlsServer(wire.worker, context, SECONDS)
        self.protocol: Any = self.server.serve(make or make_connection)
        self.transport.protocol = self.protocol
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = pki.trusting(**changes).wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        wire.call(self.protocol.connection_made, self.transport)

    def leave(self) -> None:
        """Forget the connection, which would keep what a test counts."""
        if not self.transport.closed:
            self.lose()
        self.wire.settle()
        self.connection = self.protocol = self.transport.protocol = None

    def lose(self) -> None:
        self.transport.closed = True
        self.wire.call(self.transport._lost)

    def put(self, pieces: Iterable[bytes]) -> None:
        """Have these bytes arrive in turns of their own, as long as the server reads, and let the loop settle."""
        for piece in filter(None, pieces):
            self.wire.loop.call_soon(self._arrive, piece)
        self.wire.settle()

    def _arrive(self, piece: bytes) -> None:
        if not self.transport.closed:
            self.protocol.data_received(piece)

    def exchange(self) -> None:
        """Carry what both sides have written to the other."""
        self.put([self.outgoing.read()])
        self.take()

    def take(self) -> None:
        for piece in self.transport.writes:
            self.incoming.write(piece)
        self.transport.writes.clear()
        if self.socket is not None:
            with contextlib.suppress(BlockingIOError):
                while piece := self.socket.recv(65536, socket.MSG_DONTWAIT):
                    self.incoming.write(piece)

    def shake_hands(self) -> None:
        """Complete the handshake, up to the client's last flight, which is left in `outgoing`."""
        while True:
            try:
                self.tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.exchange()

    def read(self) -> bytes:
        """Return all that the server has said, b"" behind its close_notify as well. Raises ssl.SSLError."""
        self.exchange()
        found = []
        try:
            while piece := self.tls.read(65536):
                found.append(piece)
        except ssl.SSLWantReadError:
            pass
        return b"".join(found)

    def encrypted(self, data: bytes) -> bytes:
        """Return the record of these bytes, which does not go to the server by itself."""
        assert not self.outgoing.pending
        self.tls.write(data)
        return self.outgoing.read()

    def ask(self, request: bytes) -> bytes:
        self.tls.write(request)
        return self.read()

    @property
    def has_ended(self) -> bool:
        """Whether the server's close_notify has come."""
        self.read()
        try:
            return self.tls.read(1) == b""
        except ssl.SSLWantReadError:
            return False

    def end(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.exchange()

    def update_key(self, ask: bool) -> None:
        """Use another key from here on; if told so, `ask` the server to do the same (RFC 8446 section 4.6.3)."""
        # The ssl module has no function for this: after the head of an object and the socket there is the SSL*.
        place = id(self.tls._sslobj) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)  # type: ignore[attr-defined]
        pointer = ctypes.c_void_p.from_address(place)
        assert LIBRARY.SSL_key_update(pointer, int(ask)) == 1
        assert LIBRARY.SSL_do_handshake(pointer) == 1
