"""One turn of the event loop in three batches: reads, applications, writes."""
from cpython.object cimport PyObject

from .clock cimport Timed, Usage
from .routes cimport Routes


# What one connection may have of a turn, of reads and of its application's steps, before others have theirs.
cdef double SHARE_SECONDS


cdef class Runnable:
    """An exchange that is ready to be started, or to go on."""
    cdef void run(self) noexcept


cdef class Flushable(Timed):
    """An output that holds bytes until the turn's writes."""
    cdef bint queued  # in the turn's write queue
    cdef void flush(self) noexcept


cdef class Queue:
    """Objects in order, in memory that is kept from turn to turn."""
    cdef PyObject** items  # owned references
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity

    cdef int push(self, object item) except -1
    cdef void drop_first(self, Py_ssize_t count) noexcept


cdef class Turn:
    cdef object call_soon  # the loop's
    cdef object end  # bound method end_of_turn, made once
    cdef Queue runs  # Runnables in order of arrival
    cdef Queue writes  # Flushables in order of their first held byte
    cdef Flushable last  # flushed behind all others (the access log), or None
    cdef bint inside  # the core is on the stack and calls leave() before it returns to the loop
    cdef bint running  # run_all() is on the stack, and maybe once more above it what the loop calls
    cdef bint flushing  # flush_all() is
    cdef bint scheduled  # end_of_turn is in the loop's queue
    cdef bint hurried  # what is queued holds much memory: it runs before more is read
    cdef bint batching  # several connections are busy: applications wait until more are read
    cdef bint crowded  # a batch ran in this turn before its end
    cdef double spent  # seconds on such batches
    cdef bint behind  # they took so long that the rest waits for its end
    cdef bint write_through  # an application was slow after a send: nothing is held
    cdef int alone  # turns in a row that had one exchange
    cdef int sample_length
    cdef int until_sample  # exchanges started at once until the next is counted in a turn
    cdef double first_held  # when the oldest held byte was sent
    cdef double newest_held  # when the newest was
    cdef double step_began  # when the application that runs now was started
    cdef bint others_held  # bytes were held then, and still are
    cdef double last_held  # the same, but 0 when that was before the last check
    cdef dict sender  # the scope of the exchange that sent then, None where that is not known
    cdef Routes routes  # that are not held
    cdef Usage usage  # at the start of a batch of applications, or of a call by the loop
    cdef bint measured  # `usage` is all known, and of the one that goes on now
    cdef int suspicion  # calls by the loop that are still to be measured
    cdef long clean  # exchanges without a slow step that are still wanted before bytes are held again; then below 0
    cdef long penalty  # what `clean` starts from at the next slow step

    cdef int submit(self, Runnable exchange) except -1
    cdef int hold(self, Flushable output) except -1
    cdef int hurry(self) except -1
    cdef int hold_step(self, Flushable output) except -1
    cdef int hold_last(self) except -1
    cdef void enter(self) noexcept
    cdef void leave(self) noexcept
    cdef void run_batch(self) noexcept
    cdef void run_all(self) noexcept
    cdef void flush_all(self) noexcept
    cdef void flush_last(self) noexcept
    cdef bint check(self, double now) noexcept
    cdef void check_others(self, double now) noexcept
    cdef void slow_step(self, double since, double now, dict sender) noexcept
    cdef bint was_stopped(self, double seconds, double now) noexcept
    cdef void schedule(self) noexcept


cdef inline int note_sender(Turn turn, dict scope) except -1:
    """Tell the turn of which exchange the bytes are that it was given last."""
    if turn.last_held != 0:
        turn.sender = scope
        if turn.routes.count:
            turn.hurry()
    return 0
