"""One turn of the event loop in three batches: reads, applications, writes.

System calls between requests cost more than their own time, because the interpreter comes back to cold caches. So the
connections that are readable are all read first; the exchanges that they began are queued here and start together at
the end of the loop's turn; what they send is held and written after them.

batching        With one busy connection there is nothing to batch, and an exchange starts as soon as it is read. Every
                SAMPLE-th one takes the queue all the same, to see whether it has company: if so, batching begins. It
                ends after ALONE turns with one exchange.
bounds          Held bytes are written once the oldest has waited HELD_SECONDS, and the loop reads again after
                RUN_SECONDS of applications, however many are queued.
write_through   Held bytes must not wait for what the application computes after sending them. Each step of an
                application is timed from its last send; when one goes on for SLOW_SECONDS, nothing is held any more,
                until as many exchanges as the penalty says have passed without such a step. The penalty grows while
                slow steps keep coming, so that an application that has them is soon written through for good, and a
                process that was merely not scheduled for a moment is not.
"""
from .clock cimport monotonic

cdef enum:
    SAMPLE = 16
    ALONE = 4
    FIRST_PENALTY = 1000
    LAST_PENALTY = 100000000
    PENALTY_GROWTH = 8

cdef double HELD_SECONDS = 0.0005
cdef double RUN_SECONDS = 0.005
cdef double SLOW_SECONDS = 0.001


cdef class Runnable:
    cdef void run(self) noexcept:
        """Start the exchange; never raises."""


cdef class Flushable(Timed):
    cdef void flush(self) noexcept:
        """Write what is held; never raises."""


cdef class Turn:
    """The run queue and the write queue of one event loop."""

    def __cinit__(self, loop):
        self.call_soon = loop.call_soon
        self.runs = []
        self.writes = []
        self.until_sample = SAMPLE
        self.penalty = FIRST_PENALTY
        self.end = self.end_of_turn

    cdef int submit(self, Runnable exchange) except -1:
        """Queue an exchange to be started in this turn."""
        self.runs.append(exchange)
        if not self.inside:
            self.schedule()
        return 0

    cdef int hold(self, Flushable output) except -1:
        """Have `output` flushed with the turn's writes, or at once where nothing may be held."""
        self.last_held = monotonic()
        if self.write_through or not (self.batching or self.inside):
            if not self.inside:
                self.last_held = 0  # written already, and the end of this step will not be seen
            output.flush()
            if not self.inside:
                self.flush_last()
            return 0
        if not output.queued:
            output.queued = True
            if not self.writes:
                self.first_held = self.last_held
            self.writes.append(output)
        if not self.inside:
            self.schedule()
        return 0

    cdef int hold_last(self) except -1:
        """Have `last` flushed behind the writes of this turn."""
        self.last.queued = True
        if not self.inside and not self.writes:
            self.schedule()
        return 0

    cdef void enter(self) noexcept:
        """The loop called the core: what is submitted and held from here on is dealt with in leave()."""
        self.inside = True

    cdef void leave(self) noexcept:
        """The core is done with what the loop called it for."""
        if self.last_held != 0:
            self.check(monotonic())
        if self.batching:
            if self.runs or self.writes:
                self.schedule()
        elif self.runs:
            self.until_sample -= 1
            if self.until_sample <= 0:
                self.until_sample = SAMPLE
                self.schedule()
            elif not self.scheduled:
                self.run_all()
        if not self.scheduled:
            self.flush_all()
        self.inside = False

    def end_of_turn(self):
        """Start what was read and write what was sent, each in one batch."""
        cdef Py_ssize_t started = len(self.runs)
        cdef Py_ssize_t written = len(self.writes)
        self.scheduled = False
        self.inside = True
        if self.last_held != 0:
            self.check(monotonic())
        self.flush_all()
        if started > 1 or written > 1:
            self.batching = True
            self.alone = 0
        elif self.batching:
            self.alone += 1
            if self.alone >= ALONE:
                self.batching = False
        if started:
            self.run_all()
        self.inside = False

    cdef void run_all(self) noexcept:
        cdef double now = monotonic()
        cdef double until = now + RUN_SECONDS
        cdef Py_ssize_t done = 0
        while done < len(self.runs):
            (<Runnable>self.runs[done]).run()
            done += 1
            now = monotonic()
            self.check(now)
            if self.writes and now - self.first_held > HELD_SECONDS:
                self.flush_all()
            if now > until:
                break
        if done == len(self.runs):
            self.runs.clear()
        else:
            del self.runs[:done]
            self.schedule()
        self.flush_all()

    cdef void flush_all(self) noexcept:
        cdef list writes = self.writes
        cdef Flushable output
        if writes:
            self.writes = []
            for output in writes:
                output.queued = False
                output.flush()
        self.flush_last()

    cdef void flush_last(self) noexcept:
        if self.last is not None and self.last.queued:
            self.last.queued = False
            self.last.flush()

    cdef void check(self, double now) noexcept:
        """A step of an application is over: see whether bytes that it sent waited for it."""
        if self.last_held == 0:
            return
        if now - self.last_held > SLOW_SECONDS:
            self.slow_step()
        elif self.write_through:
            self.clean -= 1
            if self.clean <= 0:
                self.write_through = False
                self.since_penalty = 0
        else:
            self.since_penalty += 1
        self.last_held = 0

    cdef void slow_step(self) noexcept:
        if not self.write_through and self.since_penalty > 100 * FIRST_PENALTY:
            self.penalty = FIRST_PENALTY
        self.write_through = True
        self.clean = self.penalty
        self.penalty = min(self.penalty * PENALTY_GROWTH, LAST_PENALTY)

    cdef void schedule(self) noexcept:
        if not self.scheduled:
            self.scheduled = True
            self.call_soon(self.end)
