"""One turn of the event loop in three batches: reads, applications, writes."""
from ..metrics cimport Metrics
from ..python cimport PyObject
from .clock cimport Timed
from .slow_steps cimport SlowSteps


# What one connection may use of a turn, for reads and for its application's steps, before others have theirs.
cdef double SHARE_SECONDS


cdef object loop_of_thread()  # the one that runs, or None


cdef class Runnable:
    """An exchange that is ready to be started, or to go on."""
    cdef void run(self) noexcept
    cdef bint hides_loop(self) noexcept  # it runs while its thread has no running loop


cdef class Flushable(Timed):
    """An output that holds bytes until the turn's writes."""
    cdef bint queued  # in the turn's write queue
    cdef void flush(self) noexcept
    # Have the memory fetched that flush() will use: the next after its own, and, called again, what that leads to.
    cdef void fetch(self, bint again) noexcept


cdef class Queue:
    """Objects in order, in memory that is kept from turn to turn."""
    cdef PyObject** items  # owned references
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity

    cdef int take(self, Queue other, Py_ssize_t most) except -1
    cdef int push(self, object item) except -1
    cdef void release(self, Py_ssize_t at) noexcept
    cdef void drop_first(self, Py_ssize_t count) noexcept


cdef class Turn:
    cdef object loop
    cdef object call_soon  # the loop's
    cdef object end  # bound method end_of_turn, made once
    cdef Queue runs  # Runnables: the next batch
    cdef Queue later  # the batch after it
    cdef Queue writes  # Flushables in order of their first held byte
    cdef Queue shared  # Flushables with messages for many, None before the first
    cdef Flushable last  # flushed after all others (the access log), or None
    cdef bint inside  # the core is on the stack and calls leave() before it returns to the loop
    cdef unsigned int batches  # that have begun
    cdef bint full  # `runs` has a batch, so that what is read goes to `later`
    cdef bint running  # run_batch() is on the stack, perhaps with another call by the loop above it
    cdef bint flushing  # flush_all() is
    cdef bint scheduled  # end_of_turn is in the loop's queue
    cdef bint hidden  # the thread has no running loop, for the sake of what hides_loop()
    cdef bint fanning  # fan_out is in the loop's queue
    cdef bint gave_way  # it was, and went behind the end of the turn
    cdef bint hurried  # what is queued holds much memory: run it before more is read
    cdef bint batching  # several connections are busy: applications wait until more are read
    cdef bint crowded  # a batch ran in this turn before its end
    cdef double spent  # seconds on such batches
    cdef bint behind  # they took so long that the rest waits for the end of the turn
    cdef int alone  # turns in a row that had one exchange
    cdef int sample_length
    cdef int until_sample  # exchanges started at once until the next is counted in a turn
    cdef double first_held  # when the oldest held byte was sent
    cdef double newest_held  # when the newest was
    cdef double head_at  # when the last head ended that came with this call of the loop's; 0: none
    cdef bint step_is_over  # what ran did nothing after it gave its response
    cdef SlowSteps steps  # what must not be held
    cdef readonly Metrics metrics  # of the process, or of this turn alone

    cdef int submit(self, Runnable exchange) except -1
    cdef int queue(self, Runnable exchange, bint later) except -1
    cdef int submit_in_order(self, Runnable exchange, unsigned int batch) except -1
    cdef int hold(self, Flushable output) except -1
    cdef int hold_step(self, Flushable output) except -1
    cdef int hold_last(self) except -1
    cdef int hold_shared(self, Flushable output) except -1
    cdef int fan_soon(self) except -1
    cdef void enter(self) noexcept
    cdef void leave(self) noexcept
    cdef void write_alone(self) noexcept
    cdef bint run_batch(self) noexcept
    cdef bint run_batch_at(self, double now) noexcept
    cdef void flush_all(self) noexcept
    cdef void flush_last(self) noexcept
    cdef void schedule(self) noexcept
    cdef int hide_loop(self) except -1
    cdef int show_loop(self) except -1


cdef inline int note_sender(Turn turn, dict scope, bint last) except -1:
    """Name the exchange of the bytes that the turn was given last; `last`: it will send no more."""
    if turn.steps.sent != 0:
        if last and not turn.batching and turn.runs.count <= turn.running:
            turn.write_alone()
        elif turn.steps.sender is not scope and turn.steps.note_sender(scope, turn.newest_held):
            turn.flush_all()
    return 0
