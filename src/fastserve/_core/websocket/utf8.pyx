# setup.py: hot
"""Checks that a text that arrives in pieces is UTF-8 (RFC 3629).

Sequences that are whole in one piece are checked as a whole, the rest byte by byte.
"""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from ..python cimport PyBytes_AS_STRING

cdef uint64_t HIGH_BITS = 0x8080808080808080


cdef bint check_utf8(Utf8* state, const unsigned char* data, Py_ssize_t size) noexcept:
    """Check the next bytes of a text. Return false at the first byte that no text can have there."""
    cdef const unsigned char* at = data
    cdef const unsigned char* end = data + size
    cdef uint64_t word
    while at < end:
        if state.left or end - at < 8:
            if not step(state, at[0]):
                return False
            at += 1
            continue
        memcpy(&word, at, 8)
        if word & HIGH_BITS == 0:
            at += 8
        elif at[0] < 0x80:
            at += 1
        elif 0xC2 <= at[0] <= 0xDF:
            if not follows(at[1]):
                return False
            at += 2
        elif 0xE0 <= at[0] <= 0xEF:
            if not lowest(at[0]) <= at[1] <= highest(at[0]) or not follows(at[2]):
                return False
            at += 3
        elif 0xF0 <= at[0] <= 0xF4:
            if not lowest(at[0]) <= at[1] <= highest(at[0]) or not follows(at[2]) or not follows(at[3]):
                return False
            at += 4
        else:
            return False
    return True


cdef inline bint step(Utf8* state, unsigned char byte) noexcept:
    if state.left:
        if not state.low <= byte <= state.high:
            return False
        state.left -= 1
        state.low = 0x80
        state.high = 0xBF
    elif byte >= 0x80:
        if not 0xC2 <= byte <= 0xF4:
            return False
        state.left = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
        state.low = lowest(byte)
        state.high = highest(byte)
    return True


cdef inline bint follows(unsigned char byte) noexcept:
    return byte & 0xC0 == 0x80


# What may follow a first byte: no overlong forms, no surrogates, nothing above U+10FFFF.
cdef inline unsigned char lowest(unsigned char first) noexcept:
    return 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80


cdef inline unsigned char highest(unsigned char first) noexcept:
    return 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
