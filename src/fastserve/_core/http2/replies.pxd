"""What a connection itself has to say to its client: frames other than those of responses."""
cimport cython
from libc.stdint cimport uint32_t

from ..memory.buffer cimport Buffer
from ..transport.writer cimport Writer


@cython.final
cdef class Replies:
    cdef Writer writer
    cdef bint put  # frames have been put that are not committed
    cdef Py_ssize_t unread  # bytes of such frames that the client has not read

    cdef Buffer room(self, Py_ssize_t size)
    cdef int reset(self, uint32_t stream, int error) except -1
    cdef int open_window(self, uint32_t stream, long long size) except -1
    cdef bint leave(self) except -1
    cdef void drained(self) noexcept
