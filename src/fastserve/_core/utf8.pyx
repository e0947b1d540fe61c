"""A text that comes in pieces, checked to be UTF-8 (RFC 3629)."""
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef uint64_t HIGH_BITS = 0x8080808080808080


cdef bint check_utf8(Utf8* state, const unsigned char* data, Py_ssize_t size) noexcept:
    """Check the next bytes of a text; false at the first byte that no text can have there."""
    cdef Py_ssize_t index = 0
    cdef uint64_t word
    cdef unsigned char byte
    while index < size:
        if state.left == 0:
            while index + 8 <= size:
                memcpy(&word, data + index, 8)
                if word & HIGH_BITS:
                    break
                index += 8
            else:
                if index == size:
                    break
        byte = data[index]
        index += 1
        if state.left:
            if byte < state.low or byte > state.high:
                return False
            state.left -= 1
            state.low = 0x80
            state.high = 0xBF
        elif byte >= 0x80:
            if byte < 0xC2 or byte > 0xF4:
                return False
            state.left = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
            # No overlong forms, no surrogates, nothing above U+10FFFF.
            state.low = 0xA0 if byte == 0xE0 else 0x90 if byte == 0xF0 else 0x80
            state.high = 0x9F if byte == 0xED else 0x8F if byte == 0xF4 else 0xBF
    return True


def check(pieces):
    """Return the number of the first piece that is not UTF-8, None when all are; for tests.

    A text that ends within a sequence is at fault in the piece behind the last.
    """
    cdef Utf8 state
    cdef Py_ssize_t number = 0
    cdef bytes piece
    state.left = 0
    for piece in pieces:
        if not check_utf8(&state, <const unsigned char*>PyBytes_AS_STRING(piece), len(piece)):
            return number
        number += 1
    return number if state.left else None
