"""The detector of slow steps: which bytes must not be held because an application keeps the loop busy.

Held bytes must not wait for what an application computes after it has sent them. Each step is timed from its last send,
or from its start if bytes of others are held. A step that goes on for SLOW_SECONDS has these consequences:

route           The route of the sender is remembered. From then on whatever such a route sends is written at once,
                together with all other held bytes, and the step costs nobody else anything. It is still timed: once it
                is no longer slow, the route is forgotten (routes.pyx).
write_through   If the route was not known yet, nothing is held until as many exchanges as the penalty says have passed
                without a slow step.
penalty         It grows with each slow step of a sender whose framework has not named a route, so that an application
                that has them often is soon written through for good. It starts over after RARE times as many exchanges
                without one.

Time that the application did not use does not count:
- the writes of a batch, and the garbage collector;
- time in which another process (or another machine on the same host) had the processor. Then the thread did not wait
  for anything, and still used less processor time than went by. Measuring this costs two system calls, so they are done
  for the first send of a turn whose bytes are held, and again for a send that comes SLOW_SECONDS later. Where a system
  does not tell, all time counts.
"""
import gc

cimport cython

from .clock cimport measure, monotonic
from .routes cimport has_route

cdef enum:
    FIRST_PENALTY = 100
    LAST_PENALTY = 100000000
    PENALTY_GROWTH = 8
    RARE = 8

cdef double SLOW_SECONDS = 0.002

# Written by one collection at a time, whichever thread it runs in; processors read these eight bytes as a whole.
cdef double collecting_since = 0  # while the garbage collector runs
cdef double collected = 0  # seconds that it has taken in this process


def note_collection(phase, info):
    """Add up the time of garbage collections (a callback of gc)."""
    global collecting_since, collected
    if phase == "start":
        collecting_since = monotonic()
    else:
        collected += monotonic() - collecting_since


gc.callbacks.append(note_collection)


@cython.final
cdef class SlowSteps:
    """Learn which applications compute after a send, so that held bytes do not wait for them."""

    def __cinit__(self):
        self.routes = Routes()
        self.penalty = FIRST_PENALTY
        self.collected_at_send = collected

    cpdef void begin_step(self, double now, bint others_held) noexcept:
        """An application is started; `others_held`: bytes of others are held."""
        self.step_began = now
        self.collected_at_start = collected
        self.others_held = others_held

    cpdef bint note_send(self, double now) noexcept:
        """The application sends. Return true if the bytes that it sent before have waited: write what is held."""
        cdef bint slow = self.sent != 0 and now - self.sent > SLOW_SECONDS
        if slow:
            slow = self.slow_send(now)
            self.sender = None  # ask again whether its route is slow, and measure anew
        self.sent = now
        self.collected_at_send = collected
        return slow

    cpdef bint note_sender(self, dict scope, double now) except -1:
        """Name the exchange that has just sent. Return true if its route is slow: write what is held."""
        if self.routes.count:
            self.watched = scope if self.routes.contain(scope) else None
            if self.watched is not None:
                self.check_others(now)
                self.sender = None
        if self.watched is None:
            self.sender = scope
        if not self.measured or now - self.usage.when > SLOW_SECONDS:
            self.check_others(now)
            self.measured = measure(&self.usage)
        return self.watched is not None

    cpdef void note_written(self) noexcept:
        """All that was held has been written, which was not the application's time."""
        self.others_held = False
        if self.sent != 0:
            self.note_write_through()

    cpdef void note_write_through(self) noexcept:
        """The bytes of the last send have been written at once, which was not the application's time."""
        self.sent = monotonic()
        self.collected_at_send = collected

    cpdef void forget_send(self) noexcept:
        """Do not watch for the end of the step that has sent."""
        self.sent = 0
        self.sender = None
        if self.watched is not None:
            self.watched = None

    cpdef bint end_send(self, double now) noexcept:
        """The step that has sent is over. Return whether the bytes have waited for it."""
        cdef bint slow
        if self.sent == 0:
            return False
        slow = now - self.sent > SLOW_SECONDS
        if slow:
            slow = self.slow_send(now)
        else:
            self.clean -= 1
            if self.clean <= 0:
                self.write_through = False
                if self.clean < -RARE * self.penalty:
                    self.penalty = FIRST_PENALTY
                    self.clean = 0
        self.forget_send()
        return slow

    cdef bint slow_send(self, double now) noexcept:
        """The step has gone on after its last send. Return whether the bytes may have waited for it."""
        cdef double seconds = now - self.sent - (collected - self.collected_at_send)
        if self.watched is None:
            self.slow_step(self.sent, now, self.sender, True, self.collected_at_send)
            return True
        if seconds > SLOW_SECONDS and not (self.measured and self.was_stopped(seconds, now)):
            self.routes.note(self.watched)
        self.watched = None
        return False

    cpdef void check_others(self, double now) noexcept:
        """Check whether bytes that others sent before this step have waited for it."""
        if self.others_held and now - self.step_began > SLOW_SECONDS:
            self.slow_step(self.step_began, now, None, True, self.collected_at_start)
            self.step_began = now
            self.collected_at_start = collected

    cpdef void end_step(self, double now) noexcept:
        """The step that begin_step() announced is over."""
        if not self.end_send(now):
            self.check_others(now)

    cpdef void end_turn(self, double newest_held, double now) noexcept:
        """The turn ends with held bytes, the last of which were sent at `newest_held`."""
        if self.sent != 0:
            self.end_send(now)
        elif now - newest_held > SLOW_SECONDS:
            # Something else kept the loop busy.
            self.slow_step(newest_held, now, None, False, self.collected_at_send)

    cpdef void stop_measuring(self) noexcept:
        """The turn is over: the loop may wait before it calls again."""
        self.measured = False

    cdef void slow_step(self, double since, double now, dict sender, bint known, double collected_before) noexcept:
        """Bytes have waited from `since` to `now` for `sender`, for another application (None), or for the unknown."""
        cdef double seconds = now - since - (collected - collected_before)
        if seconds <= SLOW_SECONDS or self.measured and self.was_stopped(seconds, now):
            return  # it was not the application
        if sender is not None and self.routes.note(sender):
            return  # its bytes were written at once
        self.write_through = True
        if not (known and self.measured) or sender is not None and has_route(sender):
            self.clean = max(self.clean, FIRST_PENALTY)
        else:
            self.clean = max(self.clean, self.penalty)
            self.penalty = min(self.penalty * PENALTY_GROWTH, LAST_PENALTY)

    cdef bint was_stopped(self, double seconds, double now) noexcept:
        """Return whether the application may have had less of these seconds than makes a step slow."""
        cdef Usage usage
        cdef double elsewhere  # of the time since `usage` was read, what this thread did not have
        if not measure(&usage) or usage.waits != self.usage.waits:
            return False
        elsewhere = now - self.usage.when - (usage.cpu - self.usage.cpu)
        return seconds - elsewhere < SLOW_SECONDS
