"""permessage-deflate (RFC 7692): negotiation, and the two contexts of a connection."""
from libc.string cimport memcpy


cdef enum:
    TAIL_SIZE = 4  # bytes at the end of DEFLATE's output that a payload leaves out (RFC 7692 section 7.2.1)


cdef inline void put_tail(char* target) noexcept:
    memcpy(target, b"\x00\x00\xff\xff", TAIL_SIZE)


cdef class Parameters:
    """What a handshake has agreed on. The server is the local side."""
    cdef readonly int server_bits  # the LZ77 window of what the server sends, 9 to 15
    cdef readonly int client_bits  # of what the client sends, 8 to 15
    cdef readonly bint server_takeover  # the window is carried from one message to the next
    cdef readonly bint client_takeover


cdef class Inflater:
    """The client's messages."""
    cdef object stream  # zlib's; None before the first message, and between messages without context takeover
    cdef int bits
    cdef bint takeover
    cdef int final_blocks  # in this message so far

    # Inflate a piece of a message's payload; the `last` one has the tail appended. Returns at most `limit` bytes, or
    # one more if there are too many. Raises ValueError for invalid data.
    cdef bytes inflate(self, bytes data, Py_ssize_t limit, bint last)
    cdef void end_message(self) noexcept

    cdef bytes begin_again(self, bytes first, Py_ssize_t limit, bint last)


cdef class Deflater:
    """The server's messages."""
    cdef object stream  # zlib's; None before the first message, and always without context takeover
    cdef int bits
    cdef bint takeover

    cdef bint worthwhile(self, Py_ssize_t size) noexcept  # whether to compress a message of this size
    cdef bytes deflate(self, const char* data, Py_ssize_t size)  # return the payload of a message with RSV1 set
    cdef void release(self) noexcept  # free the context, at any time: the next message begins a new one

    cdef object take(self)
    cdef int give(self, object stream) except -1


# Return the response's Sec-WebSocket-Extensions and its Parameters, or None twice if no offer can be accepted.
# Raises ProtocolError (400) for values that RFC 6455 section 9.1 does not allow.
cdef tuple negotiate(list values)
cdef Inflater inflater_for(Parameters parameters)
cdef Deflater deflater_for(Parameters parameters)
