"""WebSocket frames (RFC 6455 section 5): messages out of bytes, and frames into a buffer."""
from .buffer cimport Buffer
from .deflate cimport Deflater, Inflater


cdef enum:
    # What FrameReader.next() found.
    WS_NEED_MORE = 0  # all input is used up
    WS_TEXT = 1  # `message` is a str
    WS_BINARY = 2  # `message` is a bytes
    WS_PING = 3  # `payload`
    WS_PONG = 4  # `payload`
    WS_CLOSE = 5  # `code` and `reason` as received; code 1005 where the frame had none
    WS_FAULT = 6  # `code` to close with, and `reason` says what is wrong

cdef enum:
    OP_CONTINUATION = 0
    OP_TEXT = 1
    OP_BINARY = 2
    OP_CLOSE = 8
    OP_PING = 9
    OP_PONG = 10

cdef enum:
    MAX_HEADER = 14
    MAX_CONTROL_PAYLOAD = 125
    MAX_REASON = 123  # bytes of a close frame's reason
    NO_STATUS = 1005  # stands for a close frame without a code; never on the wire


cdef struct Utf8:
    # A sequence that is not complete; all zero between two of them.
    unsigned char left  # continuation bytes that are still to come
    unsigned char low  # the next one is in low..high
    unsigned char high


cdef class FrameReader:
    cdef Inflater inflater  # None without permessage-deflate
    cdef Py_ssize_t max_size  # of a message, after inflation; 0 for no limit
    cdef Py_ssize_t max_fragments  # of a message; 0 for no limit
    cdef bint ended  # nothing is parsed after a close frame or a fault
    # The frame being read.
    cdef unsigned char head[MAX_HEADER]  # its header's first bytes, from earlier inputs
    cdef unsigned char head_size
    cdef bint in_frame  # its header is complete
    cdef bint final
    cdef unsigned char opcode
    cdef unsigned char mask[8]  # the key, twice, turned to begin with the byte for the next byte of payload
    cdef Py_ssize_t left  # bytes of payload still to come
    cdef bytes control  # payload of a control frame, from earlier inputs
    # The message being read.
    cdef unsigned char kind  # OP_TEXT or OP_BINARY; OP_CONTINUATION while there is none
    cdef bint compressed
    cdef Py_ssize_t fragments
    cdef Py_ssize_t received  # payload so far, as it came
    cdef Utf8 utf8
    cdef object held  # a bytes of which the first held_size bytes are the message so far; None before the first byte
    cdef Py_ssize_t held_size

    # With what next() found; the message is dropped at the next call, or earlier by who takes it.
    cdef object message
    cdef bytes payload
    cdef int code
    cdef str reason

    cdef int next(self, const char** position, const char* end) except -1


cdef bint valid_code(int code) noexcept  # a close code that may be on the wire, in either direction

# All for frames of a server: final and not masked.
cdef int put_header(Buffer out, int opcode, bint compressed, Py_ssize_t size) except -1
cdef int put_frame(Buffer out, int opcode, bint compressed, const char* data, Py_ssize_t size) except -1
# A text or binary frame, compressed if that is worthwhile; `deflater` is None without permessage-deflate.
cdef int put_message(Buffer out, int opcode, const char* data, Py_ssize_t size, Deflater deflater) except -1
# ValueError for a code that is not valid and a reason over MAX_REASON; an empty frame for NO_STATUS.
cdef int put_close(Buffer out, int code, bytes reason) except -1
