# setup.py: cold
"""What connections begin with whose proxy speaks the PROXY protocol: its header, before TLS and HTTP.

Like the connection that follows it (connection.pyx), this protocol reads what has come before the loop does. Most clients'
headers have, and their requests with them.
"""
from .connection cimport Connection, descriptor, first_read_type, receive_first
from .http.proxy_protocol cimport Proxied, parse
from .http.scope cimport ipv4_of
from .worker cimport Worker


cdef class Preface:
    """Reads the PROXY header, then leaves the connection to the protocol that `factory` makes.

    `expected` says what is expected: its `mode` (v1, v2 or auto), and by trusts() of whom, which it remembers in `trusted`.
    While the header is not complete, the connection is between wait() and forget(). A subclass may do more in found().
    Without `worker`, that of the core's connections, the loop reads first.
    """

    def __init__(self, expected, factory, Worker worker=None):
        self.expected = expected
        self.factory = factory
        self.worker = worker
        self.received = b""

    def connection_made(self, transport):
        cdef Worker worker = self.worker
        cdef int fd = descriptor(transport)
        cdef object peer = ipv4_of(fd, True)
        self.transport = transport
        if worker is not None and worker.when_scarce is not None and fd >= worker.last_descriptor:
            worker.when_scarce()
        if peer is None:
            peer = transport.get_extra_info("peername")
        host = peer[0] if isinstance(peer, tuple) else None
        trusted = (<dict>self.expected.trusted).get(host)
        if not (self.expected.trusts(host) if trusted is None else trusted):
            self.refuse(f"{host or 'a UNIX socket'} is not in --proxy-protocol-from")
            return
        if worker is not None and worker.active < worker.room and type(transport) is first_read_type():
            self.read_first(fd)
        if not self.ended:
            self.expected.wait(self)

    cdef int read_first(self, int fd) except -1:
        cdef bytes data = receive_first(fd)
        if data is not None:
            self.early = True
            self.data_received(data)
            self.early = False
        return 0

    def data_received(self, bytes data):
        if self.ended:
            return
        data = self.received = self.received + data if self.received else data
        if self.encrypting:
            return
        try:
            header = parse(data, self.expected.mode)
        except ValueError as exc:
            self.refuse(str(exc))
            return
        if header is None:
            return
        self.received = b""
        size, client, extension = <tuple>header
        self.found(client, extension, data[size:])

    def found(self, client, extension, rest):
        """Called with the client, what scopes are told, and the bytes after the header."""
        self.leave(self.transport, client, extension, rest)

    def leave(self, transport, client, extension, rest):
        """Leave the connection to the next protocol."""
        cdef object successor = self.factory()
        self.ended = True
        if not self.early:
            self.expected.forget(self)
        if self.beyond and hasattr(successor, "accepted_beyond"):
            successor.accepted_beyond()
        transport.set_protocol(successor)
        successor.connection_made(Proxied(transport, client, extension))
        if rest and self.early and isinstance(successor, Connection):
            (<Connection>successor).feed_early(rest)
        elif rest:
            successor.data_received(rest)
        if self.eof and not successor.eof_received():
            transport.close()

    def eof_received(self):
        if not self.encrypting and not self.ended:
            self.refuse("PROXY header is cut off" if self.received else "")
        self.eof = True
        return False

    def connection_lost(self, exception):
        self.end()

    def accepted_beyond(self):
        """Note for the next protocol that this connection is beyond the limit."""
        self.beyond = True

    def shutdown(self):
        """Close because the server stops."""
        self.refuse("")

    def refuse(self, str why):
        """Close; `why` is empty if the client is not to blame."""
        if why:
            self.expected.warn(why)
        self.end()

    def end(self):
        self.ended = True
        self.expected.forget(self)
        self.transport.abort()
