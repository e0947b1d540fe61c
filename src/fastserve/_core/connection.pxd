"""The object whose callbacks the event loop calls."""
from .http.version cimport Version
from .interfaces cimport Carrier, Handler
from .loop.turn cimport Turn
from .transport.tls_writer cimport TlsWriter
from .transport.writer cimport Writer
from .worker cimport Worker


cdef class Connection(Carrier):
    cdef object __weakref__
    cdef Worker worker
    cdef Turn turn  # the worker's
    cdef readonly object transport  # None before the connection is made and after it is lost
    cdef Writer writer
    cdef TlsWriter tls  # the writer, on a TLS connection
    cdef double reading_since  # when a series of reads began that each filled the loop's buffer; 0: none
    cdef tuple versions  # of HTTP with which it may begin
    cdef bint early  # the loop has not begun to read
    cdef bint undecided  # its first bytes may be those of another one than the last
    cdef Handler handler  # of the protocol spoken now; assigned only in connection.pyx

    cdef bint is_plain(self, transport) except -1
    cdef int read_first(self) except -1
    cdef int feed_early(self, bytes data) except -1
    cdef Handler first_handler(self)
    cdef Handler begin(self, Version version)
    cdef int decide(self, bytes data) except -1
    cdef int begin_full_read(self) except -1
    cdef int end_full_read(self) except -1
    cdef int trace_made(self) except -1
    cdef int trace_lost(self) except -1
    cdef int leave_crowd(self) except -1
    cdef int cut(self) except -1
    cdef int failed(self, exception) except -1


cdef class Choice(Handler):
    """The handler while the first bytes are those of a preface, which is not complete."""
    cdef Connection connection  # None once the version is chosen or the connection lost
    cdef Handler fallback  # that of the last version, None once another one is chosen
    cdef bytes received

    cdef int choose(self, Handler handler) except -1


cdef type first_read_type()

cdef bytes receive_first(int fd)

cdef int descriptor(transport) except -2
