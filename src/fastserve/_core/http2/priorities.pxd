"""What clients say of the priority of streams that they have not opened yet (RFC 9218 section 7.1)."""
cimport cython
from libc.stdint cimport uint32_t


@cython.final
cdef class Priorities:
    cdef dict values  # by id

    cdef int keep(self, uint32_t id, bytes value) except -1
    cdef bytes take(self, uint32_t id)
    cdef Py_ssize_t count(self) except -1
