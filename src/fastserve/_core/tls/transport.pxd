"""The transport of a connection with TLS, over a plain one of the loop."""
from ..loop.clock cimport Clock, Timed
from .records cimport Records


cdef class TlsServer:
    """What the connections of one listening socket share."""
    cdef object loop
    cdef Clock clock
    cdef object context  # ssl.SSLContext
    cdef double seconds  # for a handshake
    cdef bytearray plaintext  # of one read, until it is given to a protocol; the loop has one
    cdef object room  # a memoryview of it


cdef enum State:
    HANDSHAKE
    OPEN
    CLOSING  # close_notify is sent; what comes is discarded
    CLOSED  # the plain transport is closed or about to be


cdef class TlsTransport(Timed):
    cdef TlsServer server
    cdef object plain  # the loop's transport; None before and after
    cdef object protocol  # that of the connection; the plain transport's is this object
    cdef bint buffered  # it is an asyncio.BufferedProtocol
    cdef object tls  # ssl.SSLObject, None before and after
    cdef object engine  # what `tls` calls for each read and write
    cdef object incoming  # ssl.MemoryBIO
    cdef object outgoing
    cdef Records records
    cdef State state
    cdef int fd  # for direct writes, -1 for none
    cdef Py_ssize_t high  # bytes in the plain transport's queue at which the protocol is asked to pause
    cdef bint stuck  # the plain transport has bytes that the kernel did not take
    cdef bint limited  # its high-water mark is 0, so that it tells when it has them
    cdef int replies  # of TLS itself, since the plain transport has had them
    cdef bint told  # the protocol has been asked to pause
    cdef bint resting  # the protocol does not want to read
    cdef bint unread  # meanwhile something is left in `incoming`
    cdef bint watched  # the core's writer sees to it that the connection ends
    cdef bint ended  # the client has sent close_notify

    cdef int shake_hands(self) except -1
    cdef int begin(self) except -1
    cdef int take(self, bytes data) except -1
    cdef Py_ssize_t read(self, Py_ssize_t at) except -1
    cdef Py_ssize_t reply(self) except -1
    cdef int deliver(self, Py_ssize_t size) except -1
    cdef int deliver_buffered(self, Py_ssize_t size) except -1
    cdef int end(self) except -1
    cdef int finish(self) except -1
    cdef int discard(self) except -1
    cdef int shut(self) except -1
    cdef int send(self, const char* data, Py_ssize_t size) except -1  # encrypted, in order, now
    cdef int encrypt(self, object data) except -1
    cdef int put(self) except -1
    cdef int look_at_queue(self) except -1
    cdef int refuse(self, Exception exception) except -1
    cdef int drop(self) except -1
