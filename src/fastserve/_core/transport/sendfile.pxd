"""Ranges of files on their way to a socket."""
from ..interfaces cimport Handler
from ..loop.turn cimport Turn
from .writer cimport Writer


cdef class FileSender:
    cdef Handler handler  # whose drained() tells to go on
    cdef Writer writer
    cdef Turn turn
    cdef object loop
    cdef int watched  # a duplicate of the socket's descriptor while the loop waits for room in it, else -1
    cdef object timer  # until it is tried again, where there was no descriptor for that; else None

    cdef long long send(self, int file, long long offset, long long size) except -2
    cdef int watch(self) except -1
    cdef int close(self) except -1


cdef class OpenFile:
    cdef readonly int fd
    cdef bint owned  # closed with this object
    cdef readonly long long size

    cdef int open(self, path) except -1
    cdef int borrow(self, file) except -1
