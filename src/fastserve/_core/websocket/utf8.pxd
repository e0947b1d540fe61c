"""Checks that a text that arrives in pieces is UTF-8 (RFC 3629)."""


cdef struct Utf8:
    # A sequence that is not complete.
    int left  # continuation bytes still to come; 0 between two sequences
    unsigned char low  # the next byte is in low..high
    unsigned char high


cdef bint check_utf8(Utf8* state, const unsigned char* data, Py_ssize_t size) noexcept  # false: invalid
