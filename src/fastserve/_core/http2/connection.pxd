"""An HTTP/2 connection (RFC 9113)."""
cimport cython

from ..http.version cimport Version
from ..transport.lingering cimport Lingering
from ..transport.writer cimport Writer
from ..worker cimport Worker
from .backlog cimport Backlog
from .reader cimport FrameCarrier, Reader
from .replies cimport Replies
from .requests cimport Requests
from .stream cimport Http2Stream
from .streams cimport Streams
from .uploads cimport Uploads


@cython.final
cdef class Http2Connection(FrameCarrier):
    cdef Worker worker
    cdef object transport
    cdef Reader reader
    cdef Replies replies
    cdef Uploads uploads
    cdef Requests requests
    cdef Streams streams
    cdef int awaited  # the kind of the deadline that is set, or NOTHING
    cdef bint insecure  # its TLS is too old (section 9.2)
    cdef bint resting  # for this turn of the loop
    cdef bint hurried  # it is idle and the server stops, so the client's PING is not waited for as long
    cdef Lingering lingering  # closed, but for what the client still sends; else None
    cdef Backlog waiting  # None unless applications have had to wait for what others have sent

    cdef int open(self) except -1
    cdef int close_by_reset(self, Http2Stream stream, int error) except -1
    cdef int settle(self) except -1
    cdef int await_next(self) except -1
    cdef int go_away(self) except -1
    cdef int name_last(self) except -1
    cdef int close(self) except -1
    cdef int end_blocked(self) except -1
    cdef int resume_reading(self) except -1


cdef class Http2(Version):
    pass


cdef Version HTTP2
