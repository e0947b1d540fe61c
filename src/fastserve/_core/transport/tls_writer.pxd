"""The write path of a TLS connection."""
from .writer cimport Writer


cdef class TlsWriter(Writer):
    cdef int socket  # -1 once the transport is closed
    cdef object waiting  # deque of what the transport has not been given, or None; while it has items, writing is paused
    cdef bint lingering  # the client may still be sending: what it gets must not be followed by a reset
    cdef double shut_at  # when the transport was closed, 0 before; later, when the client last took something
    cdef int left  # bytes that it had not taken by then, as far as the kernel tells
    cdef double pause_between  # seconds until the next check
    cdef object timer  # of the next check

    cdef int pour(self) except -1
    cdef int cut(self) except -1
    cdef int shut(self) except -1
    cdef int look_later(self) except -1
    cdef bint is_delivering(self) noexcept
