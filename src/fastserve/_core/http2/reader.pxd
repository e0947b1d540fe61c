"""What the frames of a client mean."""
cimport cython
from libc.stdint cimport uint32_t

from ..worker cimport Worker
from .fields cimport RequestFields, TrailerFields
from .flow cimport Flow
from .frames cimport FrameParser
from .hpack cimport Decoder
from .priorities cimport Priorities
from .replies cimport Replies
from .requests cimport Requests
from .stream cimport Http2Stream, StreamCarrier
from .streams cimport Streams
from .uploads cimport Uploads


cdef enum:
    # Phases of a connection, see connection.pyx.
    OPENING
    OPEN
    LEAVING
    LEFT
    CLOSED


cdef class FrameCarrier(StreamCarrier):
    """What the reader of its frames asks of a connection."""
    cdef int phase

    cdef int stop_idling(self) except -1  # a stream is opened, be it to be refused
    cdef int begin(self, Http2Stream stream, Py_ssize_t size) except -1  # with a request, whose head came in `size` bytes
    cdef int pong(self, const unsigned char* data) except -1  # a PING that was answered
    cdef int spend_reset(self) except -1  # count a stream that was reset; 1 where that was one too many
    cdef int fail(self, int error, const char* reason) except -1  # the client broke the protocol, or wants too much


@cython.final
cdef class Reader:
    cdef FrameCarrier connection  # None unless it reads
    cdef Worker worker
    cdef FrameParser parser
    cdef Decoder decoder
    cdef RequestFields fields  # of the request that is being read
    cdef TrailerFields trailers  # None before the first
    cdef Flow flow
    cdef Replies replies
    cdef Uploads uploads
    cdef Requests requests
    cdef Streams streams
    cdef Priorities priorities  # of streams that are not open yet; None without one
    cdef uint32_t last_id  # the highest that the client has used
    cdef bint settings_seen  # the client's first frame has come
    cdef bint client_leaves  # it has sent GOAWAY

    cdef int read(self, FrameCarrier connection, bytes data) except -1
    cdef int take_frame(self, bytes data) except -1
    cdef int take_headers(self) except -1
    cdef int take_trailers(self, Http2Stream stream) except -1
    cdef int open_stream(self) except -1
    cdef int end_request(self, Http2Stream stream) except -1
    cdef int take_data(self, bytes data) except -1
    cdef int begin_data(self) except -1
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
    cdef int lost(self) except -1


cdef Reader make_reader(
    Worker worker, FrameParser parser, Flow flow, Replies replies, Uploads uploads, Requests requests, Streams streams
)
