"""The turn of the event loop: reads, applications and writes, each in a batch.

A system call between two requests costs more than its own time, because the interpreter comes back to cold caches. So
readable connections are read first. The exchanges that they begin are queued here and started together, at the end of
the turn; what they send is held and written after them.

batching  With a single busy connection there is nothing to batch: an exchange is started as soon as it is read. Every
          SAMPLE-th one is queued all the same, to see whether it has company; if so, batching begins. It ends after
          ALONE turns with one exchange.
order     A batch is full with BATCH exchanges. What is read then is the batch after it, and runs once the loop has read
          again: in order of arrival, and with those that come back until then. If all that the loop has read ran at
          once, a client that comes back just after the read would wait for all of it twice. When the batch after it is
          full too, the first one runs before more is read, and the turn ends with both.
          The kernel lists sockets in the order in which they were ready first, so that one that comes back at once is
          before those that have waited for a batch. A client of HTTP/1.1 that had an exchange in the last batch
          therefore goes to the batch after the next, if others fill that.
bounds    With more than 2 * BATCH exchanges at a time their memory has left the caches when their turn comes, and they
          live long enough for the garbage collector to promote them, which makes it traverse its oldest generation,
          with all that the application keeps, again and again. For the same reasons an exchange that has run is released
          at once, and not with the others of its batch. Held bytes are written once the oldest has waited
          HELD_SECONDS. A batch that is not done after RUN_SECONDS is the last of its turn, as is one that ends after
          TURN_SECONDS of them: slow or very many applications must not keep the loop from its timers.
shares    A client that sends without pause could keep the loop for seconds: its application never waits for a message,
          and libuv reads a socket up to 32 times an event, as long as each read fills its buffer. After SHARE_SECONDS of
          messages receive() lets the application go on after all others, which RUN_SECONDS bounds; after SHARE_SECONDS
          of reads the connection is not read until the loop has gone round.
holding   Outside of batches a response is written as soon as it is complete, since nothing would join it. Which other
          bytes must not be held is for slow_steps to say.
fan-out   Messages for many clients are written after the responses, in slices of FAN_OUT_SECONDS: a thousand system calls
          take as long as a few hundred requests, and neither these nor the loop's timers wait for all of them.
"""
import asyncio

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

from ..metrics cimport LOG_BLOCKED, Metrics, fastserve_add
from ..python cimport PyObject, Py_INCREF, Py_XDECREF
from .clock cimport monotonic

cdef enum:
    BATCH = 32
    SAMPLE = 16
    ALONE = 4
    # How far ahead of the output that is written the memory of others is fetched, by each of the pointers to it: a system
    # call leaves little of a thousand connections in the caches.
    AHEAD = 6
    AHEAD_NEXT = 4
    AHEAD_LAST = 2
    FAN_OUT_STEP = 16  # outputs between two readings of the clock

cdef extern from "memory/prefetch.h":
    void fastserve_prefetch_all(const void* object) nogil

cdef extern from "loop/running_loop.h":
    PyObject* fastserve_running_loop() noexcept
    bint fastserve_replace_running_loop(object loop, object by) noexcept

cdef object get_running_loop = asyncio._get_running_loop
cdef object set_running_loop = asyncio._set_running_loop
cdef double HELD_SECONDS = 0.002
cdef double RUN_SECONDS = 0.005
cdef double TURN_SECONDS = 0.05
cdef double FAN_OUT_SECONDS = 0.002
cdef double BLOCKED_SECONDS = 0.001  # that writing the log takes only where what it goes to is full
SHARE_SECONDS = 0.001


cdef object loop_of_thread():
    """Return the event loop that runs in this thread, or None."""
    cdef PyObject* found = fastserve_running_loop()
    return <object>found if found != NULL else get_running_loop()


cdef class Runnable:
    cdef void run(self) noexcept:
        """Start the exchange; never raises."""

    cdef bint hides_loop(self) noexcept:
        return False


cdef class Flushable(Timed):
    cdef void flush(self) noexcept:
        """Write what is held; never raises."""

    cdef void fetch(self, bint again) noexcept:
        pass


cdef class Queue:
    def __dealloc__(self):
        self.drop_first(self.count)
        free(self.items)

    cdef int take(self, Queue other, Py_ssize_t most) except -1:
        """Move up to `most` from the front of another."""
        cdef Py_ssize_t count = min(most, other.count)
        cdef Py_ssize_t i
        for i in range(count):
            self.push(<object>other.items[i])
        other.drop_first(count)
        return 0

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

    cdef void release(self, Py_ssize_t at) noexcept:
        """Let go of one object, whose place stays until drop_first()."""
        cdef PyObject* item = self.items[at]
        self.items[at] = NULL
        Py_XDECREF(item)

    cdef void drop_first(self, Py_ssize_t count) noexcept:
        cdef Py_ssize_t at
        for at in range(count):
            Py_XDECREF(self.items[at])
        self.count -= count
        if self.count:
            memmove(self.items, self.items + count, self.count * sizeof(PyObject*))


cdef class Turn:
    """The run queue and the write queue of one event loop."""

    def __cinit__(self, loop, Metrics metrics=None):
        self.metrics = Metrics() if metrics is None else metrics
        self.loop = loop
        self.call_soon = loop.call_soon
        self.runs = Queue()
        self.later = Queue()
        self.writes = Queue()
        self.until_sample = self.sample_length = SAMPLE
        self.steps = SlowSteps()
        self.end = self.end_of_turn

    cdef int submit(self, Runnable exchange) except -1:
        """Queue an exchange to be started, in order of arrival."""
        return self.queue(exchange, self.full)

    cdef int submit_in_order(self, Runnable exchange, unsigned int batch) except -1:
        """Queue an exchange; after those of others if its client had a response in batch `batch` and none has begun since."""
        return self.queue(exchange, self.full or self.batching and batch == self.batches)

    cdef int queue(self, Runnable exchange, bint later) except -1:
        (self.later if later and not self.running else self.runs).push(exchange)
        if not self.inside:
            self.schedule()
        return 0

    cdef int hold(self, Flushable output) except -1:
        """Flush `output` with the turn's writes, or at once if nothing may be held."""
        cdef double now = monotonic()
        if self.steps.note_send(now):
            self.flush_all()
        self.newest_held = now
        if self.steps.write_through or not (self.batching or self.inside):
            if self.inside:
                output.flush()
                self.steps.note_write_through()
            else:
                self.steps.forget_send()  # it is written already, and nothing will tell of the end of this step
                output.flush()
                self.flush_last()
            return 0
        if not output.queued:
            output.queued = True
            if self.writes.count == 0:
                self.first_held = now
            self.writes.push(output)
            if now - self.first_held > HELD_SECONDS:
                self.steps.check_others(now)
                self.flush_all()
        if not self.inside:
            self.schedule()
        return 0

    cdef int hold_step(self, Flushable output) except -1:
        """Flush `output` with the turn's writes, once the running step is over."""
        if not output.queued:
            output.queued = True
            if self.writes.count == 0:
                self.first_held = self.newest_held = monotonic()
            self.writes.push(output)
        if not self.inside:
            self.schedule()
        return 0

    cdef int hold_last(self) except -1:
        """Flush `last` after the writes of this turn."""
        self.last.queued = True
        if not self.inside and self.writes.count == 0:
            self.schedule()
        return 0

    cdef int hold_shared(self, Flushable output) except -1:
        """Flush `output` after the responses of this turn, or in a later one where there are very many."""
        if output.queued:
            return 0
        if self.shared is None:
            self.shared = Queue()
        output.queued = True
        self.shared.push(output)
        return 0 if self.fanning else self.fan_soon()

    cdef int fan_soon(self) except -1:
        self.fanning = False
        self.call_soon(self.fan_out)
        self.fanning = True  # only now: without memory for it, the next message asks again
        return 0

    def fan_out(self):
        """Write what hold_shared() was given, for as long as one turn allows."""
        cdef Py_ssize_t done = 0
        cdef double until
        cdef Flushable output
        if self.scheduled and not self.gave_way:
            self.gave_way = True
            self.call_soon(self.fan_out)
            return
        self.gave_way = False
        until = monotonic() + FAN_OUT_SECONDS
        self.enter()
        while done < self.shared.count:
            if done + AHEAD < self.shared.count:
                fastserve_prefetch_all(self.shared.items[done + AHEAD])
                (<Flushable>self.shared.items[done + AHEAD_NEXT]).fetch(False)
                (<Flushable>self.shared.items[done + AHEAD_LAST]).fetch(True)
            output = <Flushable>self.shared.items[done]
            output.queued = False
            output.flush()
            done += 1
            if done % FAN_OUT_STEP == 0 and monotonic() > until:
                break
        self.shared.drop_first(done)
        self.fanning = False
        try:
            if self.shared.count:
                self.fan_soon()
        finally:
            self.leave()

    cdef void enter(self) noexcept:
        """The loop has called the core: leave() handles what is submitted and held from here on."""
        self.inside = True
        self.head_at = 0

    cdef void leave(self) noexcept:
        """The core has done what the loop called it for."""
        cdef double began
        if self.steps.sent != 0:
            self.steps.end_send(monotonic())
        if self.hurried:
            self.hurried = False
            if self.run_batch():
                self.run_batch()
        elif self.batching:
            self.full = self.runs.count >= BATCH
            if self.runs.count + self.later.count >= 2 * BATCH and not (self.running or self.behind):
                began = monotonic()
                self.behind = not self.run_batch()
                self.crowded = True
                self.spent += monotonic() - began
                self.behind |= self.spent > TURN_SECONDS
                self.schedule()
            elif self.runs.count or self.later.count or self.writes.count:
                self.schedule()
        elif self.runs.count:
            self.until_sample -= 1
            if self.until_sample <= 0:
                # The lengths alternate, so that the sample is not always the last of the connections that are read.
                self.sample_length = 2 * SAMPLE + 1 - self.sample_length
                self.until_sample = self.sample_length
                self.schedule()
            elif not self.scheduled:
                self.run_batch_at(monotonic() if self.head_at == 0 else self.head_at)
        if not self.scheduled:
            self.flush_all()
        self.inside = self.running or self.flushing
        if not (self.inside or self.scheduled):
            self.steps.stop_measuring()

    def end_of_turn(self):
        """Start a batch of what was read, or all if another ran in this turn, and write what was sent."""
        cdef Py_ssize_t started = self.runs.count + self.later.count
        cdef Py_ssize_t written = self.writes.count
        cdef bint crowded = self.crowded and not self.behind
        self.scheduled = False
        self.inside = True
        if written:
            self.steps.end_turn(self.newest_held, monotonic())
        self.flush_all()
        if started > 1 or written > 1 or self.crowded:
            self.batching = True
            self.alone = 0
        elif self.batching:
            self.alone += 1
            if self.alone >= ALONE:
                self.batching = False
        self.crowded = False
        self.spent = 0
        self.behind = started > 0 and not self.run_batch()
        if crowded and self.runs.count and not self.behind:
            self.behind = not self.run_batch()
        if not self.scheduled:
            self.steps.stop_measuring()
        self.inside = self.running or self.flushing

    cdef void write_alone(self) noexcept:
        """Write what is held: a response is complete, and no other is at hand to be written with it."""
        self.steps.end_send(self.newest_held)
        self.flush_all()

    cdef bint run_batch(self) noexcept:
        """Run the next batch, and write what it sends; return False if that takes too long and some of it is left."""
        return self.run_batch_at(monotonic())

    cdef bint run_batch_at(self, double now) noexcept:
        cdef double until = now + RUN_SECONDS
        cdef Py_ssize_t done = 0
        cdef bint finished
        if self.running:
            self.schedule()
            return False
        if self.later.count and self.runs.count < BATCH:
            self.runs.take(self.later, BATCH - self.runs.count)
        self.batches += 1
        self.running = True
        while done < self.runs.count:
            self.steps.begin_step(now, self.writes.count > 0)
            if self.hidden and not (<Runnable>self.runs.items[done]).hides_loop():
                self.show_loop()
            (<Runnable>self.runs.items[done]).run()
            self.runs.release(done)
            done += 1
            if self.step_is_over and self.newest_held > now:
                now = self.newest_held
            else:
                now = monotonic()
            self.step_is_over = False
            self.steps.end_step(now)
            if self.writes.count and now - self.first_held > HELD_SECONDS:
                self.flush_all()
            if now > until:
                break
        self.runs.drop_first(done)
        self.running = False
        finished = self.runs.count == 0
        if finished:
            self.runs, self.later = self.later, self.runs
        elif self.runs.count < BATCH:
            self.runs.take(self.later, BATCH - self.runs.count)  # else what is read next would be before them
        self.full = self.runs.count >= BATCH
        if self.runs.count:
            self.schedule()
        self.flush_all()
        return finished

    cdef void flush_all(self) noexcept:
        # Flushing one output can queue another, which is written in this batch as well. It can also come back here: a
        # TLS transport delivers within close() what it has still read.
        cdef Py_ssize_t done = 0
        cdef Flushable output
        if self.flushing:
            return
        if self.hidden:
            self.show_loop()
        self.flushing = True
        while done < self.writes.count:
            output = <Flushable>self.writes.items[done]
            output.queued = False
            output.flush()
            done += 1
        self.writes.drop_first(done)
        self.flushing = False
        if done:
            self.steps.note_written()
        self.flush_last()

    cdef void flush_last(self) noexcept:
        cdef double began
        if self.last is not None and self.last.queued:
            self.last.queued = False
            began = monotonic()
            self.last.flush()
            began = monotonic() - began
            if began > BLOCKED_SECONDS:
                fastserve_add(self.metrics.cells + LOG_BLOCKED, <uint64_t>(began * 1e9))

    cdef int hide_loop(self) except -1:
        """Leave the thread without a running loop until the batch ends, or runs what needs one."""
        if not self.hidden:
            if not fastserve_replace_running_loop(self.loop, None):
                set_running_loop(None)
            self.hidden = True
        return 0

    cdef int show_loop(self) except -1:
        if self.hidden:
            self.hidden = False
            if not fastserve_replace_running_loop(None, self.loop):
                set_running_loop(self.loop)
        return 0

    cdef void schedule(self) noexcept:
        if not self.scheduled:
            self.call_soon(self.end)
            self.scheduled = True  # only now: without memory for it, the next call asks again
