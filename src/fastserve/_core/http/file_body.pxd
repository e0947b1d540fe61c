"""A file, or a part of one, as a piece of a response."""
from ..interfaces cimport Stream
from ..transport.sendfile cimport OpenFile


cdef class Transfer:
    cdef OpenFile file
    cdef object loop
    cdef long long offset
    cdef long long size
    cdef long long left
    cdef bint reading  # sendfile(2) cannot be used
    cdef object block  # the future of the bytes being read

    cdef int measure(self, file, offset, count) except -1
    cdef int measure_path(self, path) except -1
    cdef int take(self, int fd, long long offset, long long size) except -1
    cdef object step(self, Stream stream)
    cdef object read_on(self, Stream stream)
