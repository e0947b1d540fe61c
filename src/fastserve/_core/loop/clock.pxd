"""Time for a worker: coarse readings, the Date header, and deadlines served by one timer."""


cdef enum:
    # What a deadline is for. Each kind has one duration, so its queue is in order of expiry by itself.
    KEEP_ALIVE
    REQUEST_HEAD
    REQUEST_BODY
    WRITE
    LINGER
    WS_PING  # until the next ping
    WS_PONG  # for its pong
    WS_CLOSE  # for the client's close frame
    HELD_HEAD  # for the first piece of a response's body
    SMALL_PIECE  # for a larger window over HTTP/2
    WS_HOLD  # for the application to deal with what came before a close frame
    LINGER_LOOK  # until the next check whether a client has everything
    REQUEST_REST  # for more of a request over HTTP/2 that has its response
    GOING_AWAY  # for an HTTP/2 client to stop opening streams
    GOODBYE  # for a last request, on a connection whose client could not be told that the server stops
    SLOW  # until an exchange is reported as slow
    QUEUED  # for a request to be served
    TLS_HANDSHAKE
    TLS_SHUTDOWN  # from our close_notify until the client's
    WS_FAREWELL  # for the client's close frame while the server stops
    WAITS  # how many kinds there are


cdef enum:
    # Seconds.
    LINGER_SECONDS = 5  # of silence, for a client whose bytes are discarded after the close
    CLOSE_SECONDS = 10  # for a client's close frame
    FAREWELL_SECONDS = 3  # the same while the server stops: many a client is gone without a word
    HOLD_SECONDS = 1  # for an application, before the response to a client's close frame


cdef enum:
    DATE_SIZE = 29  # bytes of the Date header's value


cdef struct Deadline:
    Deadline* previous
    Deadline* next  # NULL while in no queue
    double when
    int kind
    void* owner  # borrowed from the Timed that embeds this and unlinks it before it goes


cdef struct Usage:
    # Of the thread that asks.
    double when  # seconds, as monotonic() says
    double cpu  # seconds
    long waits  # for anything but the processor


cdef class Timed:
    """Something that has at most one deadline at a time."""
    cdef Deadline deadline
    cdef void expired(self, int kind) noexcept


cdef class Clock:
    cdef object loop
    cdef object timer  # the TimerHandle, None while nothing is due
    cdef double timer_when
    cdef double skew  # seconds added to the real time, 0 but for _core.testing
    cdef Deadline queues[WAITS]  # sentinels of circular lists
    cdef double seconds[WAITS]  # 0: this kind never expires
    cdef long long date_second  # the second that date_text is for
    cdef char date_text[DATE_SIZE + 1]
    cdef bytes last_date  # the last that date_object() returned

    cdef double now(self) noexcept
    cdef const char* date(self) noexcept
    cdef bytes date_object(self)
    cdef void start(self, Timed timed, int kind) noexcept
    cdef void start_before(self, Timed timed, int kind, double latest) noexcept
    cdef void schedule(self, double when) noexcept

# Assigned in _core.testing alone.
cdef bint simulated  # every reading but the date gives `shown`
cdef Usage shown

cdef double monotonic() noexcept
cdef bint measure(Usage* usage) noexcept
cdef void stop(Timed timed) noexcept
