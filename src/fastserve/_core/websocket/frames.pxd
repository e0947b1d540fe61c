"""WebSocket frames (RFC 6455 section 5): parses bytes into messages, and writes frames into a buffer."""
from ..memory.buffer cimport Buffer
from ..python cimport PyObject
from .deflate cimport Deflater, Inflater
from .utf8 cimport Utf8


cdef enum:
    # What FrameReader.next() found.
    WS_NEED_MORE = 0  # all input is used up
    WS_TEXT = 1  # `message` is a str
    WS_BINARY = 2  # `message` is a bytes
    WS_PING = 3  # `payload`
    WS_PONG = 4  # `payload`
    WS_CLOSE = 5  # `code` and `reason` as received; NO_STATUS if the frame was empty
    WS_FAULT = 6  # `code` is to be sent in the close frame, and `reason` describes the fault

cdef enum:
    OP_CONTINUATION = 0
    OP_TEXT = 1
    OP_BINARY = 2
    OP_CLOSE = 8
    OP_PING = 9
    OP_PONG = 10

cdef enum:
    MAX_HEADER = 14
    MAX_CONTROL = 125  # bytes of a control frame's payload
    MAX_REASON = 123  # bytes of a close frame's reason
    # Close codes (RFC 6455 section 7.4.1).
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005  # stands for a close frame without a code; never on the wire
    INVALID_DATA = 1007
    TOO_BIG = 1009


cdef class FrameReader:
    cdef Inflater inflater  # None without permessage-deflate
    cdef Py_ssize_t max_size  # of a message, after inflation
    cdef Py_ssize_t max_received  # of the payloads of a compressed message
    cdef Py_ssize_t max_fragments  # of a message
    cdef bint ended  # nothing is parsed after a close frame or a fault
    # The frame being read.
    cdef unsigned char head[MAX_HEADER]  # its header's first bytes, from earlier inputs
    cdef Py_ssize_t head_size
    cdef bint in_frame  # its header is complete
    cdef bint final
    cdef int opcode
    cdef unsigned char mask[8]  # the key, twice, beginning with the byte for the next byte of payload
    cdef Py_ssize_t left  # bytes of payload still to come
    cdef bytes control  # payload of a control frame, from earlier inputs, or None
    # The message being read.
    cdef int kind  # WS_TEXT or WS_BINARY; WS_NEED_MORE between two messages
    cdef bint compressed
    cdef Py_ssize_t fragments
    cdef Py_ssize_t received  # payload so far, as it came
    cdef Utf8 utf8
    cdef PyObject* held  # owned: a bytes whose first held_size bytes are the message so far; NULL before the first
    cdef Py_ssize_t held_size

    # What next() found. The message is dropped at the next call if nobody has taken it.
    cdef object message
    cdef Py_ssize_t delivered  # its size in bytes
    cdef bytes payload
    cdef int code
    cdef str reason

    cdef int next(self, const char** position, const char* end) except -1
    # The rest of a large message can bypass next(): room_for_more() returns where the next `size` bytes of its payload
    # may be put (NULL: nowhere); filled() is told how many came, and returns what next() would.
    cdef char* room_for_more(self, Py_ssize_t* size) except? NULL
    cdef int filled(self, Py_ssize_t size) except -1

    cdef int read_header(self, const char** position, const char* end) except -1
    cdef int parse_header(self, const unsigned char* at, Py_ssize_t size) except -1
    cdef Py_ssize_t allowance(self, int first) noexcept
    cdef int begin_frame(self, int first, Py_ssize_t size) noexcept
    cdef int read_data(self, const char** position, const char* end) except -1
    cdef int take_whole(self, const char* source, Py_ssize_t size) except -1
    cdef int take_piece(self, const char* source, Py_ssize_t size) except -1
    cdef int take_compressed(self, const char* source, Py_ssize_t size, bint last) except -1
    cdef int check_text(self, const char* data, Py_ssize_t size) except -1
    cdef char* room(self, Py_ssize_t more) except NULL
    cdef int finish(self) except -1
    cdef int deliver_text(self, const char* data, Py_ssize_t size) except -1
    cdef int deliver(self, object message) except -1
    cdef int read_control(self, const char** position, const char* end) except -1
    cdef int take_close(self) except -1
    cdef int fault(self, int code, str reason) except -1
    cdef void end(self, int code, str reason) noexcept
    cdef void drop(self) noexcept


cdef bint valid_code(int code) noexcept  # whether this close code may be on the wire, in either direction

# Frames of a server: final and not masked.
cdef int put_header(Buffer out, int opcode, bint compressed, Py_ssize_t size) except -1
cdef int put_frame(Buffer out, int opcode, bint compressed, const char* data, Py_ssize_t size) except -1
# A text or binary message, compressed if that is worthwhile; `deflater` is None without permessage-deflate.
cdef int put_message(Buffer out, int opcode, const char* data, Py_ssize_t size, Deflater deflater) except -1
# An empty frame for NO_STATUS. Raises ValueError for an invalid code and for a reason longer than MAX_REASON.
cdef int put_close(Buffer out, int code, bytes reason) except -1
