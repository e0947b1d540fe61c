"""permessage-deflate (RFC 7692): negotiation, and the two contexts of a connection."""
from .buffer cimport Buffer


cdef class Parameters:
    """What a handshake agreed on; the server is the local side."""
    cdef readonly int server_bits  # the LZ77 window of what the server sends, 9 to 15
    cdef readonly int client_bits  # of what the client sends
    cdef readonly bint server_takeover  # the window is carried from one message to the next
    cdef readonly bint client_takeover


cdef class Inflater:
    """The client's messages, inflated."""
    cdef object stream  # zlib's; None before the first message, and between messages without context takeover
    cdef int bits
    cdef bint takeover
    cdef int ended  # final blocks in the message so far

    # At most `limit` bytes and one more, which says that there are too many; `last` with the end of a message. Raises
    # ValueError where the data is not valid.
    cdef bytes inflate(self, bytes data, Py_ssize_t limit)
    cdef void end_message(self) noexcept


cdef class Deflater:
    """The server's messages, deflated."""
    cdef object stream  # zlib's; None before the first message, and between messages without context takeover
    cdef int bits
    cdef bint takeover

    cdef bint worthwhile(self, Py_ssize_t size) noexcept  # a message of that size should be compressed
    cdef bytes deflate(self, const char* data, Py_ssize_t size)  # the payload of a frame whose RSV1 is set
    cdef void release(self) noexcept  # forget the context, and free its memory: allowed at any time between messages


# The value of the response's Sec-WebSocket-Extensions and what it says, or None twice when there is no offer that can
# be accepted. Raises ProtocolError (400) for what is not the syntax of that field (RFC 6455 section 9.1).
cdef tuple negotiate(list values)
cdef Inflater inflater_for(Parameters parameters)
cdef Deflater deflater_for(Parameters parameters)
