"""The task that an application runs in."""
from .turn cimport Runnable, Turn
from .waiter cimport Sleeper


cdef enum:
    PENDING
    CANCELLED
    FINISHED


cdef class Owner(Runnable):
    """What a task tells how its coroutine goes on and ended; the exception goes no further."""
    cdef void ended(self, object result, object exception) noexcept
    cdef int suspended(self) except -1  # the coroutine waits for something
    cdef bint orphaned(self) noexcept  # the client left before the end of a response that declares no end


cdef class Task(Sleeper):
    cdef object __weakref__
    cdef dict __dict__  # what applications set on it, made with the first of that
    cdef object loop
    cdef object coro
    cdef object context
    cdef object name  # str, or None until somebody asks
    cdef Turn turn  # None for a task that is not an exchange's
    cdef Owner owner  # None for a task whose result is its coroutine's
    cdef int state
    cdef object outcome  # the result
    cdef object error  # the exception
    cdef list callbacks  # (callable, context), or None
    cdef object waiter  # the future that the coroutine waits for
    cdef object registration  # the weak reference in asyncio's set of tasks (up to 3.11)
    cdef bint registered  # with asyncio's own function
    cdef object cancel_message
    cdef object source_traceback  # where it was made, in asyncio's debug mode
    cdef long cancels  # cancel() less uncancel()
    cdef bint must_cancel
    cdef bint entered  # its context is, by the loop, which calls a step of it and the end of the turn
    cdef bint stepping  # the coroutine runs
    cdef bint blocking  # _asyncio_future_blocking
    cdef bint log_destroyed
    cdef bint log_traceback

    cdef int begin(self) except -1
    cdef int register(self) except -1
    cdef int go_on(self, object exception) except -1
    cdef object step(self, object exception)
    cdef int suspend(self, object waited) except -1
    cdef int end(self, object result, object exception) except -1
    cdef int schedule_callbacks(self) except -1
    cdef int call_soon(self, exception) except -1
    cdef object cancelled_error(self)


cdef Task start(object coro, object loop, object context, Turn turn, Owner owner)
