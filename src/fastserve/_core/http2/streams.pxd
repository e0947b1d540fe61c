"""The streams of a connection (RFC 9113 section 5.1)."""
cimport cython
from libc.stdint cimport uint32_t

from ..http.exchange cimport HttpExchange
from ..worker cimport Worker
from .closed cimport ClosedStreams
from .leftovers cimport Leftovers
from .stream cimport Http2Stream
from .uploads cimport Uploads


@cython.final
cdef class Streams:
    cdef Worker worker
    cdef Uploads uploads
    cdef dict by_id  # those that are not closed
    cdef ClosedStreams closed
    cdef Leftovers leftovers  # None until there is one
    cdef uint32_t served_id  # the highest of a stream that is served; later ones are ignored once that is said

    cdef bint are_full(self) except -1
    cdef int add(self, Http2Stream stream) except -1
    cdef int refuse(self, uint32_t id) except -1
    cdef int close(self, Http2Stream stream, int how) except -1
    cdef int leave_behind(self, HttpExchange exchange) except -1
    cdef int close_all(self) except -1


cdef Streams make_streams(Worker worker, Uploads uploads)
