"""The detector of slow steps: applications that keep the loop busy while bytes are held."""
cimport cython

from .clock cimport Usage
from .routes cimport Routes


@cython.final
cdef class SlowSteps:
    """What one turn knows about the steps of applications. Times are readings of monotonic()."""
    cdef readonly bint write_through  # a step was slow after a send: hold nothing
    cdef readonly double sent  # when the running step sent last; 0: there is no such send to watch
    cdef double collected_at_send  # seconds of garbage collection until then
    cdef dict sender  # the scope of the exchange that sent then, None if unknown
    cdef dict watched  # the scope of the exchange that sent then, if its bytes were written at once for its route's sake
    cdef double step_began  # when the running application was started
    cdef double collected_at_start  # seconds of garbage collection until then
    cdef bint others_held  # bytes were held then, and still are
    cdef Routes routes  # whose bytes are written at once
    cdef Usage usage  # what the thread had used at most SLOW_SECONDS before that send
    cdef bint measured  # `usage` is complete, and the loop has not waited since
    cdef readonly long clean  # exchanges without a slow step until bytes are held again; then counts on below 0
    cdef readonly long penalty  # what `clean` starts from at the next slow step

    # A step, from its start to its end.
    cpdef void begin_step(self, double now, bint others_held) noexcept
    cpdef bint note_send(self, double now) noexcept
    cpdef bint note_sender(self, dict scope, double now) except -1
    cpdef void note_written(self) noexcept
    cpdef void note_write_through(self) noexcept
    cpdef void forget_send(self) noexcept
    cpdef bint end_send(self, double now) noexcept
    cpdef void check_others(self, double now) noexcept
    cpdef void end_step(self, double now) noexcept
    cpdef void end_turn(self, double newest_held, double now) noexcept
    cpdef void stop_measuring(self) noexcept

    cdef bint slow_send(self, double now) noexcept
    cdef void slow_step(self, double since, double now, dict sender, bint known, double collected_before) noexcept
    cdef bint was_stopped(self, double seconds, double now) noexcept
