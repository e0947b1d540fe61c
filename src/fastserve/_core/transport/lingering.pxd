"""Connections that are closed, except that their clients still send."""
from ..interfaces cimport Handler
from ..loop.clock cimport Deadline, Timed
from ..worker cimport Worker
from .writer cimport Writer


cdef class Lingering(Timed):
    # Borrowed from the handler that owns this: without references the garbage collector need not track it.
    cdef void* worker
    cdef void* writer
    cdef double latest  # when it ends at the latest
    cdef bint hurried  # the server stops
    cdef bint unended  # the writing side is not ended yet
    cdef Deadline node  # in the worker's list; its `next` is NULL once that is over

    cdef void heard(self) noexcept  # the client has sent something
    cdef int hurry(self) except -1  # the server stops
    cdef void lost(self) noexcept  # the connection is closed
    cdef void end(self) noexcept
    cdef void link(self) noexcept
    cdef bint unlink(self) noexcept
    cdef void wait(self, double seconds) noexcept
    cdef void go_on(self) noexcept


cdef Lingering close_or_linger(Handler handler, Worker worker, Writer writer, bint linger, bint more)
cdef Lingering begin_lingering(Worker worker, Writer writer, bint more)
