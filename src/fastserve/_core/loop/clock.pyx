"""Time for a worker: coarse readings, the Date header, and deadlines served by one timer.

A deadline is a node in the queue of its kind. All deadlines of a kind last equally long, so a new one goes to the end
and the queue stays sorted; the few that end earlier search for their place. Starting and stopping a deadline is a few
pointer writes, and one timer per worker, set for the earliest deadline, serves every connection.
"""
from libc.string cimport memcmp

from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from ..settings cimport Settings

cdef double HELD_HEAD_SECONDS = 0.25
cdef double SMALL_PIECE_SECONDS = 0.25
cdef double GOING_AWAY_SECONDS = 1


cdef extern from "loop/clock.h":
    enum:
        FASTSERVE_DATE_SIZE
    double fastserve_monotonic() nogil
    double fastserve_coarse() nogil
    long long fastserve_second() nogil
    void fastserve_format_date(long long second, char* text) nogil
    # The seconds of processor time that this thread has used, and how often it waited; 0 where that is unknown.
    int fastserve_thread_usage(double* cpu, long* waits) nogil

assert <int>DATE_SIZE == <int>FASTSERVE_DATE_SIZE

cdef double LOOK_SECONDS = 0.01

simulated = False


def http_date(seconds=None):
    """Return a time in seconds since 1970, by default now, as HTTP writes it (RFC 9110 section 5.6.7).

    Raises ValueError outside the years 1 to 9999.
    """
    cdef char text[DATE_SIZE + 1]
    if seconds is not None and not -62135596800 <= seconds < 253402300800:
        raise ValueError(f"{seconds}: expected seconds of the years 1 to 9999")
    fastserve_format_date(fastserve_second() if seconds is None else <long long>seconds, text)
    return (<const char*>text)[:DATE_SIZE]


cdef double monotonic() noexcept:
    """Return seconds, exact to less than a microsecond; costs more than Clock.now()."""
    return shown.when if simulated else fastserve_monotonic()


cdef bint measure(Usage* usage) noexcept:
    """Read the time, and what the thread used of it. Return false if only the time is known."""
    if simulated:
        usage[0] = shown
        return True
    usage.when = fastserve_monotonic()
    return fastserve_thread_usage(&usage.cpu, &usage.waits)


cdef void stop(Timed timed) noexcept:
    cdef Deadline* node = &timed.deadline
    if node.next != NULL:
        node.previous.next = node.next
        node.next.previous = node.previous
        node.next = NULL


cdef class Timed:
    def __cinit__(self):
        self.deadline.owner = <void*>self

    def __dealloc__(self):
        stop(self)

    cdef void expired(self, int kind) noexcept:
        """Called once when the deadline has passed; the deadline is no longer set."""


cdef class Clock:
    """The time and the deadlines of one event loop."""

    def __cinit__(self, loop, Settings settings not None):
        cdef int kind
        self.loop = loop
        self.seconds[KEEP_ALIVE] = settings.timeout_keep_alive
        self.seconds[REQUEST_HEAD] = settings.timeout_request_head
        self.seconds[REQUEST_BODY] = settings.timeout_request_body
        self.seconds[WRITE] = settings.timeout_write
        self.seconds[LINGER] = LINGER_SECONDS
        self.seconds[WS_PING] = settings.ws_ping_interval
        self.seconds[WS_PONG] = settings.ws_ping_timeout
        self.seconds[WS_CLOSE] = CLOSE_SECONDS
        self.seconds[WS_FAREWELL] = FAREWELL_SECONDS
        self.seconds[HELD_HEAD] = HELD_HEAD_SECONDS
        self.seconds[SMALL_PIECE] = SMALL_PIECE_SECONDS
        self.seconds[WS_HOLD] = HOLD_SECONDS
        self.seconds[LINGER_LOOK] = LOOK_SECONDS
        self.seconds[REQUEST_REST] = LINGER_SECONDS
        self.seconds[GOING_AWAY] = GOING_AWAY_SECONDS
        self.seconds[SLOW] = settings.log_slow
        self.seconds[QUEUED] = settings.queue_timeout
        self.date_second = -1
        for kind in range(WAITS):
            self.queues[kind].next = self.queues[kind].previous = &self.queues[kind]

    def __dealloc__(self):
        # Queued nodes belong to objects that may be freed together with the clock: they must find themselves unlinked.
        cdef int kind
        cdef Deadline* node
        for kind in range(WAITS):
            while self.queues[kind].next != &self.queues[kind]:
                node = self.queues[kind].next
                self.queues[kind].next = node.next
                node.next = NULL

    cdef double now(self) noexcept:
        """Return seconds of a monotonic clock, exact to a few milliseconds."""
        return (shown.when if simulated else fastserve_coarse()) + self.skew

    cdef const char* date(self) noexcept:
        """Return the 29 bytes of the Date header's value (IMF-fixdate, RFC 9110 section 5.6.7)."""
        cdef long long second = fastserve_second()
        if second != self.date_second:
            fastserve_format_date(second, self.date_text)
            self.date_second = second
        return self.date_text

    cdef bytes date_object(self):
        """Return date() as an object, which all connections share for a second."""
        cdef const char* now = self.date()
        if self.last_date is None or memcmp(now, PyBytes_AS_STRING(self.last_date), DATE_SIZE) != 0:
            self.last_date = PyBytes_FromStringAndSize(now, DATE_SIZE)
        return self.last_date

    cdef void start(self, Timed timed, int kind) noexcept:
        """Set a deadline of this kind for `timed`, replacing the one that it has."""
        cdef Deadline* node = &timed.deadline
        cdef Deadline* end = &self.queues[kind]
        stop(timed)
        if self.seconds[kind] <= 0:
            return
        node.when = self.now() + self.seconds[kind]
        node.kind = kind
        node.next = end
        node.previous = end.previous
        end.previous.next = node
        end.previous = node
        if self.timer is None or node.when < self.timer_when:
            self.schedule(node.when)

    cdef void start_before(self, Timed timed, int kind, double latest) noexcept:
        """Set a deadline as start() does, but no later than `latest`."""
        cdef Deadline* node = &timed.deadline
        cdef Deadline* after
        self.start(timed, kind)
        if node.next == NULL or node.when <= latest:
            return
        node.when = latest
        after = node.previous
        stop(timed)
        while after != &self.queues[kind] and after.when > latest:
            after = after.previous
        node.previous = after
        node.next = after.next
        after.next.previous = node
        after.next = node
        if latest < self.timer_when:
            self.schedule(latest)

    cdef void schedule(self, double when) noexcept:
        if self.timer is not None:
            self.timer.cancel()
        # Slightly late on purpose: the coarse clock lags, and must have reached the deadline.
        self.timer = self.loop.call_later(max(when - self.now(), 0.0) + 0.01, self.due)
        self.timer_when = when

    def due(self):
        """Called by the timer. Bytes that came while the loop was busy are read first: they may meet the deadline."""
        self.timer = self.loop.call_soon(self.due_after_reads)

    def due_after_reads(self):
        # uvloop runs due timers, and the callbacks that these schedule, before it polls for readable sockets.
        self.timer = self.loop.call_soon(self.tick)

    def tick(self):
        """Expire what is due and set the timer for what is due next."""
        cdef double now = self.now(), earliest = 0
        cdef Deadline* node
        cdef Timed timed
        cdef int kind
        self.timer = None
        for kind in range(WAITS):
            while True:
                node = self.queues[kind].next
                if node == &self.queues[kind] or node.when > now:
                    break
                timed = <Timed>node.owner
                stop(timed)
                timed.expired(kind)
        for kind in range(WAITS):
            node = self.queues[kind].next
            if node != &self.queues[kind] and (earliest == 0 or node.when < earliest):
                earliest = node.when
        if earliest != 0 and (self.timer is None or earliest < self.timer_when):
            self.schedule(earliest)

    def tick_now(self):
        if self.timer is not None:
            self.timer.cancel()
        self.tick()

    def close(self):
        """Cancel the timer. TLS handshakes are given up, which nobody else knows of; other deadlines never expire."""
        cdef Deadline* end = &self.queues[TLS_HANDSHAKE]
        cdef Timed timed
        while end.next != end:
            timed = <Timed>end.next.owner
            stop(timed)
            timed.expired(TLS_HANDSHAKE)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
