"""An HTTP/2 connection (RFC 9113)."""
cimport cython
from libc.stdint cimport uint32_t

from ..http.version cimport Version
from ..transport.lingering cimport Lingering
from ..transport.writer cimport Writer
from ..worker cimport Worker
from .backlog cimport Backlog
from .fields cimport TrailerFields
from .frames cimport FrameParser
from .hpack cimport Decoder
from .priorities cimport Priorities
from .replies cimport Replies
from .requests cimport Requests
from .stream cimport Http2Stream, StreamCarrier
from .streams cimport Streams
from .uploads cimport Uploads


@cython.final
cdef class Http2Connection(StreamCarrier):
    cdef Worker worker
    cdef object transport
    cdef FrameParser parser
    cdef Decoder decoder
    cdef TrailerFields trailers
    cdef int phase
    cdef int awaited  # the kind of the deadline that is set, or NOTHING
    cdef bint insecure  # its TLS is too old (section 9.2)
    cdef bint settings_seen  # the client's first frame has come
    cdef bint client_leaves  # it has sent GOAWAY
    cdef Replies replies
    cdef Uploads uploads
    cdef Requests requests
    cdef bint resting  # for this turn of the loop
    cdef bint hurried  # it is idle and the server stops, so the client's PING is not waited for as long
    cdef Lingering lingering  # closed, but for what the client still sends; else None
    cdef Streams streams
    cdef Priorities priorities  # of streams that are not open yet; None without one
    cdef Backlog waiting  # None unless applications have had to wait for what others have sent
    cdef uint32_t last_id  # the highest that the client has used

    cdef int open(self) except -1
    cdef int take_frame(self, bytes data) except -1
    cdef int take_headers(self) except -1
    cdef int take_trailers(self, Http2Stream stream) except -1
    cdef int open_stream(self) except -1
    cdef int take_data(self, bytes data) except -1
    cdef int begin_data(self) except -1
    cdef int end_request(self, Http2Stream stream) except -1
    cdef int take_late(self) except -1
    cdef int take_settings(self) except -1
    cdef int take_setting(self, int name, uint32_t value) except -1
    cdef int take_window_update(self) except -1
    cdef int take_reset(self) except -1
    cdef int take_priority_update(self) except -1
    cdef int refuse_stream(self, int error) except -1
    cdef int malformed(self, Http2Stream stream, const char* reason) except -1
    cdef int refuse(self, Http2Stream stream, int status) except -1
    cdef int spend_cheap(self) except -1
    cdef int spend_reset(self) except -1
    cdef int fail(self, int error, const char* reason) except -1
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
