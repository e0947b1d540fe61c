"""Applications of a connection that start once responses before theirs have left."""
cimport cython

from ..transport.writer cimport Writer
from ..worker cimport Worker
from .flow cimport Flow
from .stream cimport Http2Stream


cdef enum:
    BACKLOG = 1 << 20  # bytes of responses that wait, beyond which no further application starts
    UNREAD_HEADS = 65536  # and of frames that wait because the client does not read: heads of responses, above all


cdef inline Py_ssize_t unread_size(Writer writer) noexcept:
    """Return how many bytes of frames wait because the client does not read."""
    return writer.buffer.size if writer.paused and writer.buffer is not None else 0


cdef inline bint is_behind(Flow flow, Writer writer) noexcept:
    """Return whether so much waits for the client that no further application starts."""
    return flow.backlog > BACKLOG or unread_size(writer) > UNREAD_HEADS


@cython.final
cdef class Backlog:
    cdef Worker worker
    cdef Flow flow
    cdef Writer writer
    cdef object starts  # a deque of Starts

    cdef int hold(self, Http2Stream stream) except -1
    cdef int start_some(self, object line) except -1  # as applicants of this line, where there is a queue


cdef Backlog make_backlog(Worker worker, Flow flow, Writer writer)
