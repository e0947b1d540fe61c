"""What an application waits for in an exchange, cheaper than a future."""
from .turn cimport Runnable, Turn


cdef class Sleeper:
    """A task that a waiter wakes without a turn of the loop in between."""
    cdef void resume(self) noexcept


cdef class Waiter(Runnable):
    cdef public object _asyncio_future_blocking
    cdef object loop
    cdef Turn turn
    cdef Sleeper sleeper  # the task that waits, if it is one of ours
    cdef list callbacks  # (callable, context) of others, or None
    cdef int state
    cdef object cancel_message

    cdef bint is_pending(self) noexcept
    cdef bint rearm(self) noexcept  # wait once more; false if others may still ask about the last time
    cdef int wake(self) except -1
    cdef int wake_later(self) except -1
    cdef int leave_to_loop(self) except -1
    cdef int schedule_callbacks(self) except -1


cdef Waiter make_waiter(object loop, Turn turn)
