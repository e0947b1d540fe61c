"""The transport of a connection with TLS, over a plain one of the loop.

It is the protocol of the plain transport and, once the handshake is complete, the transport of the connection's protocol, to
which it behaves as the loops' own TLS transports: it may change its protocol, it has no half-closed state, and close() sends
close_notify and discards what the client sends until the client has sent its own.

The ssl module's SSLObject encrypts and decrypts, between two MemoryBIOs. These never shrink, so they are given
pieces. What they decrypt is gathered in memory that all connections share. What they encrypt goes straight to the socket while the
plain transport's queue is empty: its high-water mark is 0, so it tells exactly when it is not.

HANDSHAKE -> OPEN -> CLOSING -> CLOSED, or CLOSED at once. The protocol is told of the connection when it is OPEN, and of its
loss only then.
"""
from asyncio import BufferedProtocol
from ssl import MemoryBIO, SSLError, SSLObject, SSLWantReadError, SSLWantWriteError, SSLZeroReturnError

from libc.stdint cimport uint8_t

from ..loop.clock cimport TLS_HANDSHAKE, TLS_SHUTDOWN, Clock, stop
from ..python cimport (
    PyBUF_READ, PyByteArray_AS_STRING, PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
    PyMemoryView_FromMemory,
)
from ..system cimport FASTSERVE_DIRECT_WRITES, fastserve_keep_freed, fastserve_send
from ..worker cimport Worker
from .records cimport completed

cdef enum:
    RECORD = 16384  # bytes of plaintext at most
    COPIED = 16384  # so few bytes are copied for the ssl module in less time than they are described to it
    READ = 32768  # bytes that are given to a MemoryBIO before they are read from it
    WRITTEN = 65536  # bytes that are encrypted at a time
    ROOM = 262144 + 2 * RECORD  # more than a loop reads at a time
    HIGH = 65536  # asyncio's high-water mark
    PATIENCE = 30  # seconds that asyncio waits for a client's close_notify
    REPLIES = 1000  # of TLS itself, that wait for a client which reads nothing; 27 bytes each to requests for new keys

cdef enum:
    # What read() returns in place of a number of bytes.
    NOTHING = 0
    ENDED = -2
    FAILED = -3

cdef tuple AGAIN = (SSLWantReadError, SSLWantWriteError)


cdef class TlsServer:
    """What TlsTransports share: a worker's loop and clock, an SSLContext, and the seconds that a handshake may take."""

    def __init__(self, Worker worker not None, context, double seconds):
        self.loop = worker.loop
        self.clock = worker.clock
        self.context = context
        self.clock.seconds[TLS_HANDSHAKE] = seconds
        self.clock.seconds[TLS_SHUTDOWN] = PATIENCE
        self.plaintext = bytearray(ROOM)
        self.room = memoryview(self.plaintext)
        fastserve_keep_freed()

    def serve(self, make_protocol):
        """Return the protocol of a new plain connection. That of the connection is made now, and connected after the handshake."""
        cdef TlsTransport made = TlsTransport.__new__(TlsTransport)
        made.server = self
        made.fd = -1
        made.high = HIGH
        made.set_protocol(make_protocol())
        return made


cdef class TlsTransport(Timed):
    def connection_made(self, plain):
        self.plain = plain
        if FASTSERVE_DIRECT_WRITES:
            sock = plain.get_extra_info("socket")
            self.fd = -1 if sock is None else sock.fileno()
        self.incoming = MemoryBIO()
        self.outgoing = MemoryBIO()
        try:
            self.tls = self.server.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        except Exception as exception:
            self.refuse(exception)
            return
        self.server.clock.start(self, TLS_HANDSHAKE)
        self.shake_hands()

    def accepted_beyond(self):
        """Tell the protocol that this connection is beyond --limit-connections; called before connection_made()."""
        if hasattr(self.protocol, "accepted_beyond"):
            self.protocol.accepted_beyond()

    cdef int shake_hands(self) except -1:
        try:
            self.tls.do_handshake()
        except AGAIN:
            return self.put()
        except Exception as exception:
            return self.refuse(exception)
        stop(self)
        return self.begin()

    cdef int begin(self) except -1:
        self.put()  # what belongs to the handshake, as session tickets do
        if self.state == CLOSED:
            return 0
        self.state = OPEN
        kind = type(self.tls)
        # An SSLObject's read() and write() only pass their arguments on.
        passes_on = kind.read is SSLObject.read and kind.write is SSLObject.write
        self.engine = getattr(self.tls, "_sslobj", self.tls) if passes_on else self.tls
        self.unread = self.incoming.pending > 0
        self.protocol.connection_made(self)
        self.look_at_queue()
        return self.read_on()

    def read_on(self):
        """Read what came before the protocol was there, once it wants to read."""
        if self.unread and self.state == OPEN and not self.resting:
            self.unread = False
            self.take(self.incoming.read())  # which counts the records
        return 0

    cdef void expired(self, int kind) noexcept:
        self.drop()

    def data_received(self, bytes data):
        if self.state == OPEN and not self.unread:
            self.take(data)
        elif self.state == OPEN:
            self.incoming.write(data)
            self.read_on()
        elif self.state == HANDSHAKE:
            self.incoming.write(data)
            self.shake_hands()
        elif self.state == CLOSING:
            self.incoming.write(data)
            self.discard()

    cdef int take(self, bytes data) except -1:
        """Decrypt what has become complete, and give it to the protocol as one piece."""
        cdef const uint8_t* octets = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), at = 0, part, records, got = NOTHING, filled = 0
        while at < size and got >= 0:
            part = min(size - at, READ)
            records = completed(&self.records, octets + at, part)
            self.incoming.write(data if part == size else memoryview(data)[at:at + part])
            at += part
            while records > 0:
                if filled > ROOM - RECORD:
                    self.deliver(filled)
                    filled = 0
                    if self.state != OPEN:
                        self.incoming.write(data[at:])
                        return self.discard() if self.state == CLOSING else 0
                got = self.read(filled)
                if got <= 0:
                    break
                filled += got
                records -= 1
        if filled and got != FAILED:
            self.deliver(filled)
        if got == ENDED and self.state == OPEN:
            self.end()
        elif self.state == CLOSING:
            self.discard()
        return 0

    cdef Py_ssize_t read(self, Py_ssize_t at) except -1:
        """Decrypt a record to this place of the plaintext; return the number of bytes."""
        cdef Py_ssize_t got
        try:
            got = self.engine.read(RECORD, self.server.room if at == 0 else self.server.room[at:])
        except AGAIN:  # what was complete had no data, and there may be something to be said to it
            return self.reply()
        except SSLError as exception:
            self.refuse(exception)
            return FAILED
        return got if got else ENDED

    cdef Py_ssize_t reply(self) except -1:
        """Write what TLS itself has to say; break off where a client asks for that without end, and reads nothing."""
        if self.stuck and self.outgoing.pending:
            self.replies += 1
            if self.replies > REPLIES:
                self.drop()
                return FAILED
        self.put()
        return NOTHING

    cdef int deliver(self, Py_ssize_t size) except -1:
        if self.protocol is None:
            return 0
        if self.buffered:
            return self.deliver_buffered(size)
        self.protocol.data_received(PyBytes_FromStringAndSize(PyByteArray_AS_STRING(self.server.plaintext), size))
        return 0

    cdef int deliver_buffered(self, Py_ssize_t size) except -1:
        data = bytes(self.server.room[:size])
        while data and self.protocol is not None:
            buffer = memoryview(self.protocol.get_buffer(len(data))).cast("B")
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            self.protocol.buffer_updated(size)
            data = data[size:]
        return 0

    cdef int end(self) except -1:
        """The client has sent close_notify."""
        self.ended = True
        if self.protocol is not None:
            self.protocol.eof_received()
        return self.shut()

    cdef int shut(self) except -1:
        """Send close_notify, and wait for the client's unless it has come."""
        if self.state != OPEN:
            return 0
        self.state = CLOSING
        if not self.watched:
            self.server.clock.start(self, TLS_SHUTDOWN)
        try:
            self.tls.unwrap()
        except AGAIN:
            self.put()
            if self.resting and self.state == CLOSING:
                self.resting = False
                self.plain.resume_reading()
            return 0
        except SSLError:
            pass  # the client sends what cannot be read any more
        return self.finish()

    cdef int finish(self) except -1:
        self.put()
        if self.state != CLOSED:
            self.state = CLOSED
            self.plain.close()
        return 0

    cdef int discard(self) except -1:
        """Read on after close_notify until the client's."""
        try:
            while self.engine.read(RECORD, self.server.room):
                pass
        except AGAIN:
            return 0
        except SSLZeroReturnError:  # in place of nothing, once close_notify is sent
            pass
        except SSLError:
            return self.finish()
        if not self.ended:
            self.ended = True
            if self.protocol is not None:
                self.protocol.eof_received()
        return self.finish()

    def eof_received(self):
        # Without close_notify: the client's bytes may have been cut off, and it reads no more.
        if self.state == HANDSHAKE:
            self.drop()
        self.state = CLOSED
        return False

    def connection_lost(self, exception):
        cdef bint begun = self.state != HANDSHAKE
        stop(self)
        protocol, self.protocol = self.protocol, None
        self.state = CLOSED
        self.fd = -1
        self.plain = self.engine = self.incoming = self.outgoing = None
        if begun and protocol is not None:
            protocol.connection_lost(exception)
        elif not begun:
            self.tls = None  # which says that its handshake has failed

    cdef int refuse(self, Exception exception) except -1:
        """Break off because of an error in what the client sends, of which OpenSSL tells it."""
        if not isinstance(exception, OSError):
            self.server.loop.call_exception_handler(
                {"message": "SSL handshake failed", "exception": exception, "transport": self.plain, "protocol": self}
            )
        self.put()
        return self.drop()

    cdef int drop(self) except -1:
        """Break off without close_notify."""
        stop(self)
        if self.state == HANDSHAKE:
            self.protocol = self.tls = None
        self.state = CLOSED
        if self.plain is not None:
            self.plain.abort()
        return 0

    # Writing

    cdef int send(self, const char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t part
        while size > 0 and self.state == OPEN:
            part = min(size, WRITTEN)
            if part <= COPIED:
                self.encrypt(PyBytes_FromStringAndSize(data, part))
            else:
                self.encrypt(PyMemoryView_FromMemory(<char*>data, part, PyBUF_READ))
            data += part
            size -= part
        return 0

    cdef int encrypt(self, object data) except -1:
        try:
            self.engine.write(data)
        except SSLError as exception:
            return self.refuse(exception)
        return self.put()

    cdef int put(self) except -1:
        """Write what is encrypted."""
        cdef bytes data = self.outgoing.read()
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), sent = 0
        if size == 0 or self.state == CLOSED:
            return 0
        if self.fd >= 0 and not self.stuck:
            sent = fastserve_send(self.fd, PyBytes_AS_STRING(data), size)
            if sent < 0:
                return self.drop()
            if sent == size:
                return 0
        if self.fd >= 0 and not self.limited:
            self.limited = True
            self.plain.set_write_buffer_limits(high=0)
        self.plain.write(data if sent == 0 else memoryview(data)[sent:])
        return self.look_at_queue()

    cdef int look_at_queue(self) except -1:
        """Ask the protocol to pause once too much waits for the client."""
        if self.stuck and not self.told and self.state == OPEN and self.protocol is not None:
            if self.plain.get_write_buffer_size() > self.high:
                self.told = True
                self.protocol.pause_writing()
        return 0

    def pause_writing(self):
        self.stuck = True
        self.look_at_queue()

    def resume_writing(self):
        self.stuck = False
        self.replies = 0
        if self.told:
            self.told = False
            if self.protocol is not None:
                self.protocol.resume_writing()

    # What protocols call

    def write(self, data):
        view = memoryview(data).cast("B")
        while view and self.state == OPEN:
            self.encrypt(view[:WRITTEN])
            view = view[WRITTEN:]

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    def can_write_eof(self):
        return False

    def write_eof(self):
        raise NotImplementedError

    def close(self):
        if self.state == HANDSHAKE:
            self.drop()
        else:
            self.shut()

    def abort(self):
        self.drop()

    def is_closing(self):
        return self.state >= CLOSING

    def is_reading(self):
        return self.state < CLOSED and not self.resting

    def pause_reading(self):
        if self.state < CLOSING and not self.resting:
            self.resting = True
            self.plain.pause_reading()

    def resume_reading(self):
        if self.state < CLOSING and self.resting:
            self.resting = False
            self.plain.resume_reading()
            if self.unread:
                self.server.loop.call_soon(self.read_on)

    def set_write_buffer_limits(self, high=None, low=None):
        if high is None:
            high = HIGH if low is None else 4 * low
        self.high = high

    def get_write_buffer_limits(self):
        return 0, self.high

    def get_write_buffer_size(self):
        return 0 if self.plain is None else self.plain.get_write_buffer_size()

    def set_protocol(self, protocol):
        self.protocol = protocol
        self.watched = False
        self.buffered = isinstance(protocol, BufferedProtocol)

    def get_protocol(self):
        return self.protocol

    def get_extra_info(self, name, default=None):
        if name == "sslcontext":
            return self.server.context
        if self.tls is not None:
            if name == "ssl_object":
                return self.tls
            if name == "peercert":
                return self.tls.getpeercert()
            if name == "cipher":
                return self.tls.cipher()
            if name == "compression":
                return self.tls.compression()
        return default if self.plain is None else self.plain.get_extra_info(name, default)
