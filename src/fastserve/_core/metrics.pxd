"""The page of metrics of a process: cells of 64 bits that it writes, and that anyone may read."""
from libc.stdint cimport uint64_t

cdef extern from "metrics.h" nogil:
    enum:
        FASTSERVE_BOUNDS
    const double fastserve_bounds[FASTSERVE_BOUNDS]
    void fastserve_store(uint64_t* cell, uint64_t value) noexcept
    void fastserve_add(uint64_t* cell, uint64_t more) noexcept
    void fastserve_observe(uint64_t* histogram, double seconds) noexcept


cdef enum:
    # The page, in cells.
    LAYOUT = 0  # the version of this layout
    PID = 1
    START = 2  # seconds since 1970
    STATE = 3  # of the server: the phases of its life
    SCALARS = 4
    SCALAR_COUNT = 160
    HISTOGRAM = 19  # cells: 18 buckets, and the sum
    SERIES = SCALARS + SCALAR_COUNT
    SERIES_COUNT = 64
    SERIES_SIZE = 1 + HISTOGRAM  # the key, and a histogram
    ROUTES = SERIES + SERIES_COUNT * SERIES_SIZE
    ROUTE_COUNT = 128
    NAME = 16  # cells of a route's name
    CLASSES = 5  # of statuses: 1xx to 5xx
    ROUTE_SIZE = NAME + CLASSES + HISTOGRAM
    OWN = ROUTES + ROUTE_COUNT * ROUTE_SIZE
    OWN_COUNT = 256
    OWN_NAME = 12
    OWN_SIZE = OWN_NAME + 1  # the name, and the value as a double
    TEXTS = OWN + OWN_COUNT * OWN_SIZE  # their size in bytes, then the help texts of the application's own
    CELLS = 10240  # 80 KiB


cdef enum:
    # Gauges, which mean nothing once the process has ended.
    ACTIVE = SCALARS
    NEW_CONNECTIONS
    IDLE_CONNECTIONS
    ACTIVE_CONNECTIONS
    WEBSOCKET_CONNECTIONS
    CLOSING_CONNECTIONS
    LAST_LAG  # nanoseconds
    WSGI_BUSY
    WSGI_IDLE
    WSGI_QUEUE
    CERTIFICATE_END  # seconds since 1970
    SUBSCRIPTIONS
    ACCEPTING
    QUEUE
    BEAT_DUE  # nanoseconds of the monotonic clock; 0: none is due
    # Counters.
    LOOP_BUSY  # nanoseconds
    PROCESS_BUSY
    LOG_BLOCKED
    RECEIVED  # bytes
    SENT
    CONNECTIONS
    CLOSED_BY_CLIENT  # why connections were closed, in the order of the reasons below
    CLOSED_KEEP_ALIVE
    CLOSED_HEAD
    CLOSED_BODY
    CLOSED_WRITE
    CLOSED_PING
    CLOSED_DRAIN
    CLOSED_ERROR
    FAILED_BEFORE
    FAILED_AFTER
    FAILED_MISSING
    WS_RECEIVED
    WS_SENT
    WS_RECEIVED_BYTES
    WS_SENT_BYTES
    WS_ACCEPTED
    WS_DENIED
    WS_REFUSED
    TLS_OK
    TLS_FAILED
    TOPICS_DELIVERED
    TOPICS_DROPPED
    TOPICS_CLOSED
    TOPICS_GAPS
    QUEUE_FULL
    QUEUE_DEADLINE
    QUEUE_GONE
    WS_CLOSED  # the first of as many cells as there are CLOSE_CODES
    WS_CLOSED_END = WS_CLOSED + 14
    REFUSED = WS_CLOSED_END  # the first of as many cells as there are REFUSALS
    REFUSED_END = REFUSED + 20
    # Histograms.
    WAIT = REFUSED_END
    PROXY_WAIT = WAIT + HISTOGRAM
    LAG = PROXY_WAIT + HISTOGRAM
    END_OF_SCALARS = LAG + HISTOGRAM


cdef enum:
    # Why a connection is closed.
    BY_CLIENT  # or because it asked for that, or could not have the next response
    BY_KEEP_ALIVE
    BY_HEAD
    BY_BODY
    BY_WRITE
    BY_PING
    BY_DRAIN
    BY_ERROR


cdef class Metrics:
    cdef uint64_t* cells
    cdef Py_buffer buffer  # of the page's memory; empty where it is our own
    cdef unsigned char* table  # the number of a series by its key; 0: it has none yet
    cdef int series  # taken so far
    cdef readonly bint by_route  # requests are counted by route as well
    cdef dict routes  # numbers of routes by name, for each method
    cdef int route_count
    cdef readonly Py_ssize_t own_count  # own cells that there is room for

    cdef void count(self, int key, int status, double seconds) noexcept
    cdef void count_route(self, int key, int status, double seconds, dict scope) noexcept
    cdef int number_of(self, int key) noexcept
    cdef int number_of_new_route(self, dict known, str method, str path) except -1
    cdef int number_of_route(self, str method, dict scope) except -1
    cdef int refuse(self, int status, str reason) except -1
    cdef int closed(self, int code) except -1


cdef int key_of(int method, int version, bint encrypted) noexcept  # without a status
cdef int method_number(str method) except -1
