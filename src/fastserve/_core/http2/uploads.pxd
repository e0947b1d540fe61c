"""The bodies that the client of a connection sends, and how much of them it may send (RFC 9113 section 5.2)."""
cimport cython

from ..transport.low_water cimport LowWater
from ..worker cimport Worker
from .frames cimport FrameParser
from .replies cimport Replies
from .stream cimport Http2Stream


@cython.final
cdef class Uploads:
    cdef Worker worker
    cdef object transport
    cdef FrameParser parser
    cdef Replies replies
    cdef Http2Stream receiver  # of the DATA frame that is coming, None where it is discarded
    cdef LowWater low_water  # None until a large body comes
    # The window of the connection.
    cdef long long credit  # bytes of bodies that the client may send
    cdef long long taken  # bytes that it may be allowed again
    cdef long long promised  # to streams, beyond their first window
    cdef long long spare  # that all of them may be promised
    cdef long long whole  # the window as it was at first

    cdef bint spend(self, Py_ssize_t size) noexcept
    cdef int begin(self, Http2Stream stream) except -1
    cdef int receive(self, Http2Stream stream, bytes data) except -1
    cdef int end(self) except -1
    cdef int note(self, Http2Stream stream, Py_ssize_t size) except -1
    cdef int discard(self, Http2Stream stream) except -1
    cdef int reopen(self, Http2Stream stream) except -1
    cdef int want(self, Http2Stream stream) except -1
    cdef int took_frames(self, Http2Stream stream) except -1
    cdef int took(self, Http2Stream stream, Py_ssize_t left) except -1
    cdef int give_back(self, long long size) except -1
    cdef int top_up(self, Http2Stream stream) except -1
    cdef int forget(self, Http2Stream stream) except -1
    cdef int abandon(self, Http2Stream stream) except -1
    cdef int close(self) except -1
    cdef int lost(self) except -1


cdef Uploads make_uploads(Worker worker, object transport, FrameParser parser, Replies replies)
