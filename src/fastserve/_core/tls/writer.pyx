"""The write path of a connection with TLS of the core's own: what a turn has gathered is encrypted as one."""
from ..loop.clock cimport Clock
from ..loop.turn cimport Turn
from ..metrics cimport SENT, fastserve_add
from ..transport.tls_writer cimport TlsWriter
from .transport cimport CLOSED, TlsTransport

cdef enum:
    SLICE = 65536  # bytes that are written before it is seen whether the client takes them


cdef class TlsSocketWriter(TlsWriter):
    def __cinit__(self, TlsTransport transport not None, int fd, Turn turn, Clock clock):
        self.tls = transport
        transport.watched = True
        transport.high = 0  # it tells exactly when the client does not take what is written

    cdef int write_out(self) except -1:
        cdef Py_ssize_t size
        while self.committed and not self.paused and not self.broken:
            size = min(self.committed, SLICE)
            fastserve_add(self.cells + SENT, size)
            self.tls.send(self.buffer.data, size)
            self.drop_front(size)
            if self.tls.state == CLOSED:
                self.abort()
        if self.closing and (self.broken or not self.paused):
            self.shut()
        return 0

    cdef bint reads_on(self) noexcept:
        return True
