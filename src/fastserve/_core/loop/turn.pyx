"""Turns of the event loop in batches: reads, applications, writes.

System calls between requests cost more than their own time, because the interpreter comes back to cold caches. So
connections that are readable are read first; the exchanges that they began are queued here and start together, at the
end of the loop's turn or when there are BATCH of them; what they send is held and written after them.

batching        With one busy connection there is nothing to batch, and an exchange starts as soon as it is read. Every
                SAMPLE-th one takes the queue all the same, to see whether it has company: if so, batching begins. It
                ends after ALONE turns with one exchange.
bounds          Of more than BATCH exchanges at a time the memory is out of the caches when their turn comes, and the
                garbage collector takes what lives for long enough into the generation that it seldom looks through,
                again and again until it does, with all that the application keeps. Held bytes are written once the
                oldest has waited HELD_SECONDS. A batch that is not through after RUN_SECONDS is the last of its turn,
                and so is one that ends after TURN_SECONDS of them: applications that are slow, or very many, must not
                keep the loop from its timers.
shares          A client that sends without pause could keep the loop for seconds: its application never has to wait for a
                message, and libuv reads a socket up to 32 times an event, as long as each read fills its buffer. After
                SHARE_SECONDS of messages receive() has the application go on behind all others, which RUN_SECONDS
                bounds, and after as long of such reads the connection is not read until the loop has gone round.
write_through   Held bytes must not wait for what the application computes after sending them. Each step of an
                application is timed from its last send, or from its start where others' bytes are held; when one goes
                on for SLOW_SECONDS, its route is remembered, and what that sends is written at once from then on,
                with all else that is held. Nothing at all is held until as many exchanges as the penalty says have
                passed without such a step. Where the step is not one of a route that its framework has named, the
                penalty grows with it, so that an application that often has them is soon written through for good; it
                begins anew once RARE times as many have passed. What is not the
                application's time does not count: the writes of a batch, the garbage collector, and a processor that
                another process or another machine on the same host had, which shows in that the thread did not wait
                for anything and yet used less processor time than went by. To know that costs two system calls a batch;
                outside of batches they are made for SUSPICIOUS calls by the loop behind a slow step, and what is seen
                without them counts for FIRST_PENALTY at most.
"""
import gc

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

from .clock cimport measure, monotonic
from .routes cimport has_route

cdef enum:
    BATCH = 32
    SAMPLE = 16
    ALONE = 4
    FIRST_PENALTY = 100
    LAST_PENALTY = 100000000
    PENALTY_GROWTH = 8
    RARE = 8
    SUSPICIOUS = 10000

cdef double HELD_SECONDS = 0.002
cdef double RUN_SECONDS = 0.005
cdef double TURN_SECONDS = 0.05
cdef double SLOW_SECONDS = 0.002
SHARE_SECONDS = 0.001

cdef double last_collection = 0  # when the garbage collector ran last


def note_collection(phase, info):
    global last_collection
    last_collection = monotonic()


gc.callbacks.append(note_collection)


cdef class Runnable:
    cdef void run(self) noexcept:
        """Start the exchange; never raises."""


cdef class Flushable(Timed):
    cdef void flush(self) noexcept:
        """Write what is held; never raises."""


cdef class Queue:
    def __dealloc__(self):
        self.drop_first(self.count)
        free(self.items)

    cdef int push(self, object item) except -1:
        cdef Py_ssize_t capacity
        cdef PyObject** items
        if self.count == self.capacity:
            capacity = self.capacity * 2 or 64
            items = <PyObject**>realloc(self.items, capacity * sizeof(PyObject*))
            if items == NULL:
                raise MemoryError
            self.items = items
            self.capacity = capacity
        Py_INCREF(item)
        self.items[self.count] = <PyObject*>item
        self.count += 1
        return 0

    cdef void drop_first(self, Py_ssize_t count) noexcept:
        cdef Py_ssize_t at
        for at in range(count):
            Py_DECREF(<object>self.items[at])
        self.count -= count
        if self.count:
            memmove(self.items, self.items + count, self.count * sizeof(PyObject*))


cdef class Turn:
    """The run queue and the write queue of one event loop."""

    def __cinit__(self, loop):
        self.call_soon = loop.call_soon
        self.runs = Queue()
        self.routes = Routes()
        self.writes = Queue()
        self.until_sample = self.sample_length = SAMPLE
        self.penalty = FIRST_PENALTY
        self.end = self.end_of_turn

    cdef int submit(self, Runnable exchange) except -1:
        """Queue an exchange to be started in this turn."""
        self.runs.push(exchange)
        if not self.inside:
            self.schedule()
        return 0

    cdef int hold(self, Flushable output) except -1:
        """Have `output` flushed with the turn's writes, or at once where nothing may be held."""
        cdef double now = monotonic()
        if self.last_held != 0 and now - self.last_held > SLOW_SECONDS:
            self.slow_step(self.last_held, now, self.sender)  # in the middle of a step, between two sends
            self.flush_all()
        self.last_held = self.newest_held = now
        if self.write_through or not (self.batching or self.inside):
            if not self.inside:
                self.last_held = 0  # written already, and the end of this step will not be seen
                self.sender = None
            output.flush()
            if self.inside:
                self.last_held = monotonic()
            else:
                self.flush_last()
            return 0
        if not output.queued:
            output.queued = True
            if self.writes.count == 0:
                self.first_held = now
            self.writes.push(output)
            if now - self.first_held > HELD_SECONDS:
                self.check_others(now)
                self.flush_all()
        if not self.inside:
            self.schedule()
        return 0

    cdef int hurry(self) except -1:
        """Write what is held where the application of the last sender is known to go on computing after its sends."""
        if self.routes.are_written_at_once(self.sender):
            self.flush_all()
            if self.routes.is_proven(self.sender):
                self.last_held = 0  # there is nothing to learn from the rest of this step
                self.sender = None
        return 0

    cdef int hold_step(self, Flushable output) except -1:
        """Have `output` flushed when the step that goes on is over, with the turn's writes."""
        if not output.queued:
            output.queued = True
            if self.writes.count == 0:
                self.first_held = self.newest_held = monotonic()
            self.writes.push(output)
        if not self.inside:
            self.schedule()
        return 0

    cdef int hold_last(self) except -1:
        """Have `last` flushed behind the writes of this turn."""
        self.last.queued = True
        if not self.inside and self.writes.count == 0:
            self.schedule()
        return 0

    cdef void enter(self) noexcept:
        """The loop called the core: what is submitted and held from here on is dealt with in leave()."""
        if self.suspicion > 0 and not self.inside:
            self.suspicion -= 1
            self.measured = measure(&self.usage)
        self.inside = True

    cdef void leave(self) noexcept:
        """The core is done with what the loop called it for."""
        if self.last_held != 0:
            self.check(monotonic())
        if self.hurried:
            self.hurried = False
            self.run_all()
        elif self.batching:
            if self.runs.count >= BATCH and not (self.running or self.behind):
                self.run_batch()
                self.crowded = True
                self.spent += monotonic() - self.usage.when
                self.behind = self.runs.count > 0 or self.spent > TURN_SECONDS
            elif self.runs.count or self.writes.count:
                self.schedule()
        elif self.runs.count:
            self.until_sample -= 1
            if self.until_sample <= 0:
                # Of two lengths in turn, so that it does not always fall on the last of the connections that are read.
                self.sample_length = 2 * SAMPLE + 1 - self.sample_length
                self.until_sample = self.sample_length
                self.schedule()
            elif not self.scheduled:
                self.run_all()
        if not self.scheduled:
            self.flush_all()
        self.inside = self.running or self.flushing
        if not self.inside:
            self.measured = False

    def end_of_turn(self):
        """Start what was read and write what was sent, each in one batch."""
        cdef Py_ssize_t started = self.runs.count
        cdef Py_ssize_t written = self.writes.count
        cdef double now
        self.scheduled = False
        self.inside = True
        if written:
            now = monotonic()
            if self.last_held != 0:
                self.check(now)
            elif now - self.newest_held > SLOW_SECONDS:
                self.slow_step(self.newest_held, now, None)  # something else in the loop went on for that long
        self.flush_all()
        if started > 1 or written > 1 or self.crowded:
            self.batching = True
            self.alone = 0
        elif self.batching:
            self.alone += 1
            if self.alone >= ALONE:
                self.batching = False
        if started:
            self.run_batch()
        self.crowded = False
        self.spent = 0
        self.behind = self.runs.count > 0
        self.inside = self.running or self.flushing

    cdef void run_batch(self) noexcept:
        """Start what is queued, timed by the thread's own clock as well."""
        self.measured = measure(&self.usage)
        self.run_all()
        self.measured = False

    cdef void run_all(self) noexcept:
        cdef double now = monotonic()
        cdef double until = now + RUN_SECONDS
        cdef Py_ssize_t done = 0
        if self.running:
            self.schedule()
            return
        self.running = True
        while done < self.runs.count:
            self.step_began = now
            self.others_held = self.writes.count > 0
            (<Runnable>self.runs.items[done]).run()
            done += 1
            now = monotonic()
            if not self.check(now):
                self.check_others(now)
            if self.writes.count and now - self.first_held > HELD_SECONDS:
                self.flush_all()
            if now > until:
                break
        self.runs.drop_first(done)
        self.running = False
        if self.runs.count:
            self.schedule()
        self.flush_all()

    cdef void flush_all(self) noexcept:
        # Flushing one output can queue another: those are written in this batch as well. It can also come back here: a
        # TLS transport that is closed hands over what it has still read, within close().
        cdef Py_ssize_t done = 0
        cdef Flushable output
        if self.flushing:
            return
        self.flushing = True
        while done < self.writes.count:
            output = <Flushable>self.writes.items[done]
            output.queued = False
            output.flush()
            done += 1
        self.writes.drop_first(done)
        self.flushing = False
        if done:
            self.others_held = False
            if self.last_held != 0:
                self.last_held = monotonic()  # this was not the application's time
        self.flush_last()

    cdef void flush_last(self) noexcept:
        if self.last is not None and self.last.queued:
            self.last.queued = False
            self.last.flush()

    cdef bint check(self, double now) noexcept:
        """A step of an application is over: see whether bytes that it sent waited for it, and return that."""
        cdef bint slow
        if self.last_held == 0:
            return False
        slow = now - self.last_held > SLOW_SECONDS
        if slow:
            self.slow_step(self.last_held, now, self.sender)
        else:
            self.clean -= 1
            if self.clean <= 0:
                self.write_through = False
                if self.clean < -RARE * self.penalty:
                    self.penalty = FIRST_PENALTY
                    self.clean = 0
        self.last_held = 0
        self.sender = None
        return slow

    cdef void check_others(self, double now) noexcept:
        """See whether bytes that others sent before this step have waited for it."""
        if self.others_held and now - self.step_began > SLOW_SECONDS:
            self.slow_step(self.step_began, now, None)

    cdef void slow_step(self, double since, double now, dict sender) noexcept:
        """Bytes that `sender` sent, or others where it is None, have waited for that long: hold none from here on."""
        if last_collection > since or self.measured and self.was_stopped(now - since, now):
            return  # it was not the application
        self.suspicion = SUSPICIOUS
        if sender is not None and self.routes.note(sender, self.measured):
            return  # they have not waited
        self.write_through = True
        if not self.measured or sender is not None and has_route(sender):
            self.clean = max(self.clean, FIRST_PENALTY)
        else:
            self.clean = max(self.clean, self.penalty)
            self.penalty = min(self.penalty * PENALTY_GROWTH, LAST_PENALTY)

    cdef bint was_stopped(self, double seconds, double now) noexcept:
        """Whether of this time the application may have had less than makes a step slow."""
        cdef Usage usage
        cdef double elsewhere  # what this thread did not have of the time since `usage` was read
        if not measure(&usage) or usage.waits != self.usage.waits:
            return False
        elsewhere = now - self.usage.when - (usage.cpu - self.usage.cpu)
        return seconds - elsewhere < SLOW_SECONDS

    cdef void schedule(self) noexcept:
        if not self.scheduled:
            self.scheduled = True
            self.call_soon(self.end)
