"""Applications of a connection that start once responses before theirs have left."""
cimport cython

from ..worker cimport Worker
from .flow cimport Flow
from .stream cimport Http2Stream


cdef enum:
    BACKLOG = 1 << 20  # bytes of responses that wait, beyond which no further application starts


@cython.final
cdef class Backlog:
    cdef Worker worker
    cdef Flow flow
    cdef object starts  # a deque of Starts

    cdef int hold(self, Http2Stream stream) except -1
    cdef int start_some(self, object line) except -1  # as applicants of this line, where there is a queue


cdef Backlog make_backlog(Worker worker, Flow flow)
