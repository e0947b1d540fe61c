"""HTTP/2 frames (RFC 9113 sections 4 and 6): out of bytes, and into bytes."""
cimport cython
from libc.stdint cimport uint32_t

from ..memory.buffer cimport Buffer


cdef enum:
    # Types of frames.
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    PRIORITY_UPDATE = 16  # RFC 9218 section 7.1


cdef enum:
    # Flags.
    ACK = 1
    END_STREAM = 1
    END_HEADERS = 4
    PADDED = 8
    WITH_PRIORITY = 32


cdef enum:
    # Error codes (section 7).
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12


cdef enum:
    # Settings.
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8  # RFC 8441
    NO_RFC7540_PRIORITIES = 9  # RFC 9218


cdef enum:
    FRAME_HEAD = 9  # bytes
    LARGEST_FRAME = 16384  # bytes of payload that are accepted
    PREFACE_SIZE = 24


cdef enum:
    # What FrameParser.next() found.
    NEED_MORE
    FRAME
    FAULT


cdef bytes PREFACE


@cython.final
cdef class FrameParser:
    # The frame that was found. CONTINUATION frames are never found: their block comes as that of its HEADERS.
    cdef int type
    cdef int flags
    cdef uint32_t stream
    cdef Py_ssize_t length  # of its whole payload, padding included
    cdef const unsigned char* data  # its payload without padding and priority, of DATA a piece; until the next call
    cdef Py_ssize_t size
    cdef bint first  # of DATA: the frame begins with this piece
    cdef bint last  # it ends with it
    cdef Py_ssize_t overhead  # of DATA, with the first piece: how much of `length` is padding
    cdef bint depends_on_itself  # of HEADERS and PRIORITY
    # After a fault, which concerns the whole connection.
    cdef int error
    cdef const char* reason
    # The frame that is coming.
    cdef int state
    cdef bint fresh  # no piece of it has been found
    cdef unsigned char head[9]
    cdef Py_ssize_t matched  # bytes of the preface, or of a head, that have come
    cdef Py_ssize_t left  # of its payload
    cdef Py_ssize_t padding  # of that, padding
    cdef Buffer kept  # payload of a frame that has not come as a whole, or None
    cdef Buffer block  # fragments of a header block that has not, or None
    cdef uint32_t block_stream  # 0 unless only CONTINUATION may follow
    cdef int block_flags
    cdef Py_ssize_t block_length
    cdef int continuations

    cdef int next(self, const unsigned char** position, const unsigned char* end) except -1
    cdef Py_ssize_t following(self, const unsigned char* end) noexcept  # bytes of the body after this piece of DATA
    cdef bint in_block(self) noexcept  # a header block has begun to come
    cdef bint match_preface(self, const unsigned char** position, const unsigned char* end) noexcept
    cdef bint read_head(self, const unsigned char** position, const unsigned char* end) noexcept
    cdef int begin_frame(self) except -1
    cdef int next_piece(self, const unsigned char** position, const unsigned char* end) noexcept
    cdef bint collect(self, const unsigned char** position, const unsigned char* end) except -1
    cdef int take_frame(self) except -1
    cdef int take_fragment(self) except -1
    cdef int check_size(self) noexcept
    cdef void drop(self) noexcept
    cdef int fault(self, int error, const char* reason) noexcept


cdef uint32_t number_at(const unsigned char* data) noexcept
cdef void fill_head(char* to, Py_ssize_t length, int type, int flags, uint32_t stream) noexcept
cdef int put_head(Buffer out, Py_ssize_t length, int type, int flags, uint32_t stream) except -1
cdef int put_number(Buffer out, int type, uint32_t stream, uint32_t number) except -1  # RST_STREAM, WINDOW_UPDATE
cdef int put_setting(Buffer out, int name, uint32_t value) except -1
cdef int put_ping(Buffer out, int flags, const unsigned char* data) except -1
cdef int put_goaway(Buffer out, uint32_t last, int error, const char* reason) except -1
