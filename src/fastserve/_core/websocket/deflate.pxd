"""permessage-deflate (RFC 7692): negotiation, and the two contexts of a connection."""
from libc.string cimport memcpy


cdef enum:
    TAIL_SIZE = 4  # of what a message's payload lacks of what DEFLATE made of it (RFC 7692 section 7.2.1)


cdef inline void put_tail(char* target) noexcept:
    memcpy(target, b"\x00\x00\xff\xff", TAIL_SIZE)


cdef class Parameters:
    """What a handshake agreed on; the server is the local side."""
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

    # A piece of a message's payload, the `last` one with the tail behind it. Returns at most `limit` bytes and one
    # more, which says that there are too many. Raises ValueError where the data is not valid.
    cdef bytes inflate(self, bytes data, Py_ssize_t limit, bint last)
    cdef void end_message(self) noexcept

    cdef bytes begin_again(self, bytes first, Py_ssize_t limit, bint last)


cdef class Deflater:
    """The server's messages."""
    cdef object stream  # zlib's; None before the first message, and always without context takeover
    cdef int bits
    cdef bint takeover

    cdef bint worthwhile(self, Py_ssize_t size) noexcept  # a message of that size should be compressed
    cdef bytes deflate(self, const char* data, Py_ssize_t size)  # the payload of a message whose RSV1 is set
    cdef void release(self) noexcept  # free the context: allowed at any time, the next message begins a new one

    cdef object take(self)
    cdef int give(self, object stream) except -1


# The value of the response's Sec-WebSocket-Extensions and its Parameters, None twice when no offer can be accepted.
# Raises ProtocolError (400) where the values are not what RFC 6455 section 9.1 allows.
cdef tuple negotiate(list values)
cdef Inflater inflater_for(Parameters parameters)
cdef Deflater deflater_for(Parameters parameters)
