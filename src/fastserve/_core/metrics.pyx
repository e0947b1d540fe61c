# setup.py: cold
"""The page of metrics of a process.

One page belongs to one process. The threads of its event loops write it, with plain stores, or atomic additions where
CPython has no global lock: nothing else is locked where something is counted, and no system call is made. A parent has mapped the same memory, and reads it at any time, also once the process hangs or has
been killed. Which cell means what is for the shell's table to say; the layout is in metrics.pxd.

Requests are counted by method, status, version and scheme. The four make a key, a number below KEYS, and a table of as
many bytes has the number of its series, which is given when a key is first seen. The last series is for all keys that
come when the others are taken, as is the last route for all routes.
"""
cimport cython
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from .python cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyByteArray_AS_STRING, PyObject_GetBuffer
from .threads cimport fastserve_sum

cdef extern from "metrics.h" nogil:
    void fastserve_name(uint64_t* cells, const char* name, int count) noexcept

cdef enum:
    MORE = CELLS - 1  # how many own cells there are after the page, where its memory is longer

cdef enum:
    STATUSES = 1000
    VERSIONS = 3
    BY_STATUS = VERSIONS * 2
    BY_METHOD = STATUSES * BY_STATUS
    KEYS = 10 * BY_METHOD

LAYOUT_VERSION = 1
METHODS = ("_OTHER", "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
HTTP_VERSIONS = ("1.0", "1.1", "2")
BOUNDS = tuple([fastserve_bounds[index] for index in range(FASTSERVE_BOUNDS)])
CLOSE_CODES = (1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 3000, None)  # None: any other
# The status and the reason of requests that the server refuses.
REFUSALS = (
    (400, "syntax"), (400, "framing"), (400, "host"), (405, "method"), (408, "timeout"), (413, "limit"),
    (414, "limit"), (417, "syntax"), (421, "host"), (426, "version"), (431, "limit"), (501, "method"),
    (501, "framing"), (503, "limit"), (503, "queue"), (503, "drain"), (505, "version"), (None, "syntax"),
)
# By name, the first cells of what the shell's table names.
SCALAR_CELLS = {
    "active": ACTIVE,
    "connections_new": NEW_CONNECTIONS,
    "connections_idle": IDLE_CONNECTIONS,
    "connections_active": ACTIVE_CONNECTIONS,
    "connections_websocket": WEBSOCKET_CONNECTIONS,
    "connections_closing": CLOSING_CONNECTIONS,
    "last_lag": LAST_LAG,
    "wsgi_busy": WSGI_BUSY,
    "wsgi_idle": WSGI_IDLE,
    "wsgi_queue": WSGI_QUEUE,
    "certificate_end": CERTIFICATE_END,
    "subscriptions": SUBSCRIPTIONS,
    "accepting": ACCEPTING,
    "queue": QUEUE,
    "beat_due": BEAT_DUE,
    "loop_busy": LOOP_BUSY,
    "process_busy": PROCESS_BUSY,
    "log_blocked": LOG_BLOCKED,
    "received": RECEIVED,
    "sent": SENT,
    "connections": CONNECTIONS,
    "closed_client": CLOSED_BY_CLIENT,
    "closed_keep_alive": CLOSED_KEEP_ALIVE,
    "closed_head": CLOSED_HEAD,
    "closed_body": CLOSED_BODY,
    "closed_write": CLOSED_WRITE,
    "closed_ping": CLOSED_PING,
    "closed_drain": CLOSED_DRAIN,
    "closed_error": CLOSED_ERROR,
    "failed_before": FAILED_BEFORE,
    "failed_after": FAILED_AFTER,
    "failed_missing": FAILED_MISSING,
    "ws_received": WS_RECEIVED,
    "ws_sent": WS_SENT,
    "ws_received_bytes": WS_RECEIVED_BYTES,
    "ws_sent_bytes": WS_SENT_BYTES,
    "ws_accepted": WS_ACCEPTED,
    "ws_denied": WS_DENIED,
    "ws_refused": WS_REFUSED,
    "tls_ok": TLS_OK,
    "tls_failed": TLS_FAILED,
    "topics_delivered": TOPICS_DELIVERED,
    "topics_dropped": TOPICS_DROPPED,
    "topics_closed": TOPICS_CLOSED,
    "topics_gaps": TOPICS_GAPS,
    "queue_full": QUEUE_FULL,
    "queue_deadline": QUEUE_DEADLINE,
    "queue_gone": QUEUE_GONE,
    "ws_closed": WS_CLOSED,
    "refused": REFUSED,
    "wait": WAIT,
    "proxy_wait": PROXY_WAIT,
    "lag": LAG,
}
# The shape of the page, in cells of 8 bytes.
SHAPE = {
    "layout": LAYOUT,
    "pid": PID,
    "start": START,
    "state": STATE,
    "scalars": SCALARS,
    "histogram": HISTOGRAM,
    "series": SERIES,
    "series_count": SERIES_COUNT,
    "series_size": SERIES_SIZE,
    "routes": ROUTES,
    "route_count": ROUTE_COUNT,
    "route_name": NAME,
    "classes": CLASSES,
    "route_size": ROUTE_SIZE,
    "own": OWN,
    "own_count": OWN_COUNT,
    "own_name": OWN_NAME,
    "own_size": OWN_SIZE,
    "texts": TEXTS,
    "more": MORE,
    "cells": CELLS,
}

cdef dict METHOD_NUMBERS = {name: number for number, name in enumerate(METHODS)}
cdef dict CLOSE_NUMBERS = {code: number for number, code in enumerate(CLOSE_CODES)}
cdef dict REFUSAL_NUMBERS = {each: number for number, each in enumerate(REFUSALS)}
cdef dict BY_STATUS_ALONE = {408: "timeout", 417: "syntax", 421: "host", 503: "limit", 505: "version", 405: "method"}
cdef tuple HOST_WORDS = ("host", "authority")
cdef tuple FRAMING_WORDS = ("transfer", "content-length", "chunk", "trailer", "body that", "without a body", "body longer")

assert <int>END_OF_SCALARS <= <int>SERIES
assert len(CLOSE_CODES) == WS_CLOSED_END - WS_CLOSED
assert len(REFUSALS) <= REFUSED_END - REFUSED


def parts_of_key(int key):
    """Return method, status, version and scheme of a series; "_OTHER" for all four of the last one."""
    if key >= KEYS:
        return ("_OTHER",) * 4
    return (
        METHODS[key // BY_METHOD],
        str(key % BY_METHOD // BY_STATUS),
        HTTP_VERSIONS[key % BY_STATUS // 2],
        "https" if key & 1 else "http",
    )


def reason_of(int status, str text):
    """Return why a request is refused, by the text of its fault: one of a few words, for a label."""
    if status in (413, 414, 431):
        return "limit"
    text = text.lower()
    if status == 501:
        return "framing" if "coding" in text else "method"
    if status == 503 and text in ("drain", "queue"):
        return text
    if status == 426:
        return "version"
    if status in BY_STATUS_ALONE:
        return BY_STATUS_ALONE[status]
    if has_word(text, FRAMING_WORDS):
        return "framing"
    return "host" if has_word(text, HOST_WORDS) else "syntax"


cdef bint has_word(str text, tuple words) except -1:
    for word in words:
        if word in text:
            return True
    return False


cdef int key_of(int method, int version, bint encrypted) noexcept:
    return method * BY_METHOD + version * 2 + encrypted


cdef int method_number(str method) except -1:
    return METHOD_NUMBERS.get(method, 0)


cdef class Metrics:
    """A page of metrics in `memory`, a writable buffer of that size, or in memory of its own."""

    def __cinit__(self, memory=None):
        self.table = <unsigned char*>calloc(KEYS, 1)
        if self.table == NULL:
            raise MemoryError
        if memory is None:
            self.cells = <uint64_t*>calloc(CELLS, 8)
            if self.cells == NULL:
                raise MemoryError
        else:
            PyObject_GetBuffer(memory, &self.buffer, PyBUF_SIMPLE | PyBUF_WRITABLE)
            if self.buffer.len < CELLS * 8:
                raise ValueError(f"a page of metrics has {CELLS * 8} bytes, not {self.buffer.len}")
            self.own_count = OWN_COUNT + (self.buffer.len - CELLS * 8) // (OWN_SIZE * 8)
            self.cells = <uint64_t*>self.buffer.buf
        fastserve_store(self.cells + LAYOUT, LAYOUT_VERSION)
        self.own_count = max(self.own_count, OWN_COUNT)
        self.routes = {}

    def __dealloc__(self):
        free(self.table)
        if self.buffer.buf != NULL:  # `memory` may be cleared already
            PyBuffer_Release(&self.buffer)
        else:
            free(self.cells)

    def read(self):
        """Return the page as it is now, and the own cells after it."""
        return (<const char*>self.cells)[:(CELLS + self.cells[MORE] * OWN_SIZE) * 8]

    def begin(self, int pid, int start):
        """Note which process writes this page, and since when."""
        fastserve_store(self.cells + PID, pid)
        fastserve_store(self.cells + START, start)

    def enter(self, int phase):
        """Note the phase of the server's life."""
        fastserve_store(self.cells + STATE, phase)

    def count_by_route(self):
        """Count requests by route from here on."""
        self.by_route = True

    def tell(self, bytes text not None):
        """Append a help text of the application's own metrics, while there is room."""
        cdef uint64_t* size = self.cells + TEXTS
        cdef Py_ssize_t room
        with cython.critical_section(self):
            room = (MORE - TEXTS - 1) * 8 - <Py_ssize_t>size[0]
            if len(text) <= room:
                memcpy(<char*>(size + 1) + size[0], <const char*>text, len(text))
                fastserve_add(size, len(text))

    def add(self, int cell, uint64_t more=1):
        """Add to a scalar."""
        fastserve_add(self.cells + checked(cell), more)

    def set(self, int cell, uint64_t value):
        """Set a scalar."""
        fastserve_store(self.cells + checked(cell), value)

    def get(self, int cell):
        """Return a scalar."""
        return self.cells[checked(cell)]

    def observe(self, int cell, double seconds):
        """Put a value into the histogram whose first cell this is."""
        if not SCALARS <= cell <= END_OF_SCALARS - HISTOGRAM:
            raise IndexError(f"cell {cell} is not that of a histogram")
        fastserve_observe(self.cells + cell, seconds)

    def request(self, str method, int status, str version, bint encrypted, double seconds, dict scope=None):
        """Count a request and its duration; `scope` is that of one that an application has served."""
        cdef int number = HTTP_VERSIONS.index(version) if version in HTTP_VERSIONS else 1
        cdef int key = key_of(method_number(method), number, encrypted)
        self.count(key, status, seconds)
        if self.by_route and scope is not None:
            self.count_route(key, status, seconds, scope)

    def refused(self, int status, str text):
        """Count a request that the server refuses; `text` says what is wrong with it."""
        self.refuse(status, reason_of(status, text))

    def websocket_closed(self, int code):
        """Count a WebSocket that is closed with this code."""
        self.closed(code)

    cdef void count(self, int key, int status, double seconds) noexcept:
        cdef uint64_t* series
        cdef int number
        if not 0 < status < STATUSES:
            status = STATUSES - 1
        key += status * BY_STATUS
        number = self.table[key]
        if number == 0:
            number = self.number_of(key)
        series = self.cells + SERIES + (number - 1) * SERIES_SIZE
        fastserve_observe(series + 1, seconds)

    cdef int number_of(self, int key) noexcept:
        """Return the number of the series of a key that had none."""
        cdef int number
        with cython.critical_section(self):
            number = self.table[key]  # another thread may have given it meanwhile
            if number == 0 and self.series < SERIES_COUNT - 1:
                self.series += 1
                number = self.series
                self.table[key] = <unsigned char>number
                fastserve_store(self.cells + SERIES + (number - 1) * SERIES_SIZE, key + 1)
            elif number == 0:
                number = SERIES_COUNT
                fastserve_store(self.cells + SERIES + (number - 1) * SERIES_SIZE, KEYS + 1)
        return number

    cdef void count_route(self, int key, int status, double seconds, dict scope) noexcept:
        """Count a request under its route: what the framework has put into the scope."""
        cdef uint64_t* route
        cdef int number
        try:
            number = self.number_of_route(<str>METHODS[key // BY_METHOD], scope)
        except Exception:  # of a route whose path is a property of the framework's
            return
        route = self.cells + ROUTES + number * ROUTE_SIZE + NAME
        if 100 <= status < 600:
            fastserve_add(route + status // 100 - 1, 1)
        fastserve_observe(route + CLASSES, seconds)

    cdef int number_of_route(self, str method, dict scope) except -1:
        cdef dict known = self.routes.get(method)
        route = scope.get("route")
        path = getattr(route, "path", None) if route is not None else scope.get("path_template")
        if type(path) is not str:
            path = "unmatched"
        else:
            root = scope.get("root_path")
            if root:
                path = root + path
        if known is None:
            known = self.routes.setdefault(method, {})
        number = known.get(path)
        if number is not None:
            return number
        with cython.critical_section(self):
            return self.number_of_new_route(known, method, path)

    cdef int number_of_new_route(self, dict known, str method, str path) except -1:
        cdef bytes name
        cdef char text[NAME * 8]
        number = known.get(path)  # another thread may have given it meanwhile
        if number is not None:
            return number
        if self.route_count == ROUTE_COUNT - 1:
            number, name = ROUTE_COUNT - 1, b"_OTHER _OTHER"
        else:
            number, name = self.route_count, f"{method} {path}".encode("utf-8", "replace")
            self.route_count += 1
            known[path] = number
            if len(name) > NAME * 8:
                name = name[:NAME * 8].decode("utf-8", "ignore").encode()
        memset(text, 0, sizeof(text))
        memcpy(text, <const char*>name, len(name))
        fastserve_name(self.cells + ROUTES + <int>number * ROUTE_SIZE, text, NAME)
        return number

    cdef int refuse(self, int status, str reason) except -1:
        number = REFUSAL_NUMBERS.get((status, reason), len(REFUSALS) - 1)
        fastserve_add(self.cells + REFUSED + <int>number, 1)
        return 0

    cdef int closed(self, int code) except -1:
        number = CLOSE_NUMBERS.get(code, len(CLOSE_CODES) - 1)
        fastserve_add(self.cells + WS_CLOSED + <int>number, 1)
        return 0


cdef int checked(int cell) except -1:
    if not SCALARS <= cell < END_OF_SCALARS:
        raise IndexError(f"cell {cell} is not a scalar")
    return cell


cdef class OwnCell:
    """A value of the application's own, in cell number `number` of those of a page."""
    cdef Metrics metrics
    cdef double* value

    def __init__(self, Metrics metrics not None, int number, bytes name not None):
        cdef char text[OWN_NAME * 8]
        cdef Py_ssize_t at = OWN + number * OWN_SIZE
        if not 0 <= number < metrics.own_count:
            raise IndexError(f"own cell {number}: there are {metrics.own_count}")
        if number >= OWN_COUNT:
            at = CELLS + (number - OWN_COUNT) * OWN_SIZE
        if len(name) > OWN_NAME * 8:
            raise ValueError(f"the name of an own cell has at most {OWN_NAME * 8} bytes: {name!r}")
        memset(text, 0, sizeof(text))
        memcpy(text, <const char*>name, len(name))
        self.metrics = metrics
        self.value = <double*>(metrics.cells + at + OWN_NAME)
        fastserve_name(metrics.cells + at, text, OWN_NAME)
        if number >= OWN_COUNT:
            with cython.critical_section(metrics):
                fastserve_store(metrics.cells + MORE, max(metrics.cells[MORE], <uint64_t>(number - OWN_COUNT + 1)))

    def add(self, double more):
        fastserve_sum(self.value, more)

    def set(self, double value):
        self.value[0] = value

    def get(self):
        return self.value[0]


cdef class Sums:
    """Sums of pages that were read: of scalars by their cell, of series by key, of routes by name."""
    cdef uint64_t scalars[SCALAR_COUNT]
    cdef dict series_sums
    cdef dict route_sums

    def __cinit__(self):
        self.series_sums, self.route_sums = {}, {}

    def add(self, bytes page not None, bint lives=True):
        """Add a page; of a process that has ended only what counts for ever. Return whether it was one."""
        cdef const uint64_t* cells = <const uint64_t*><const char*>page
        cdef int at
        if len(page) < CELLS * 8 or cells[LAYOUT] != LAYOUT_VERSION:
            return False  # its process has not begun to write
        self.add_scalars(cells + SCALARS, 0 if lives else LOOP_BUSY - SCALARS)
        for at in range(SERIES, SERIES + SERIES_COUNT * SERIES_SIZE, SERIES_SIZE):
            if cells[at] != 0:
                add_cells(self.series_sums, cells[at] - 1, cells + at + 1, HISTOGRAM)
        for at in range(ROUTES, ROUTES + ROUTE_COUNT * ROUTE_SIZE, ROUTE_SIZE):
            if cells[at] != 0:
                add_cells(
                    self.route_sums, page[at * 8:(at + NAME) * 8].rstrip(b"\0"), cells + at + NAME, CLASSES + HISTOGRAM
                )
        return True

    def join(self, Sums other not None):
        """Add other sums."""
        self.add_scalars(other.scalars, 0)
        for key, sums in other.series_sums.items():
            add_cells(self.series_sums, key, <const uint64_t*>PyByteArray_AS_STRING(sums), HISTOGRAM)
        for name, sums in other.route_sums.items():
            add_cells(self.route_sums, name, <const uint64_t*>PyByteArray_AS_STRING(sums), CLASSES + HISTOGRAM)

    def __reduce__(self):
        cdef bytes scalars = (<const char*>self.scalars)[:SCALAR_COUNT * 8]
        return Sums, (), (LAYOUT_VERSION, scalars, self.series_sums, self.route_sums)

    def __setstate__(self, tuple state not None):
        """Take over the sums of another process; not of one whose pages are laid out in another way."""
        version, scalars, series_sums, route_sums = state
        if version == LAYOUT_VERSION and len(scalars) == SCALAR_COUNT * 8:
            memcpy(self.scalars, <const char*>scalars, SCALAR_COUNT * 8)
            self.series_sums, self.route_sums = series_sums, route_sums

    cdef void add_scalars(self, const uint64_t* scalars, int first) noexcept:
        cdef int at, end = CERTIFICATE_END - SCALARS
        cdef uint64_t before = self.scalars[end]
        for at in range(first, SCALAR_COUNT):
            self.scalars[at] += scalars[at]
        if first <= end:  # the earliest
            self.scalars[end] = min(before, scalars[end]) if before and scalars[end] else before or scalars[end]

    def scalar(self, int cell):
        """Return the sum of a scalar; a gauge may seem to be below 0 where pages were read at different moments."""
        cdef uint64_t value = self.scalars[checked(cell) - SCALARS]
        return 0 if value >> 63 else value

    def histogram(self, int cell):
        """Return the cells of the histogram that begins with this one."""
        checked(cell + HISTOGRAM - 1)
        return [self.scalars[at] for at in range(cell - SCALARS, cell - SCALARS + HISTOGRAM)]

    @property
    def series(self):
        """The buckets and the sum of each series, by its key."""
        return {key: numbers(sums) for key, sums in self.series_sums.items()}

    @property
    def routes(self):
        """The classes of statuses, the buckets and the sum of each route, by its name."""
        return {name.decode("utf-8", "replace"): numbers(sums) for name, sums in self.route_sums.items()}

    @property
    def requests(self):
        """How many requests there were."""
        cdef uint64_t total = 0
        cdef uint64_t* values
        cdef int at
        for sums in self.series_sums.values():
            values = <uint64_t*>PyByteArray_AS_STRING(sums)
            for at in range(FASTSERVE_BOUNDS + 1):
                total += values[at]
        return total


cdef int add_cells(dict sums, object key, const uint64_t* cells, int count) except -1:
    cdef uint64_t* values
    cdef int at
    found = sums.get(key)
    if found is None:
        found = sums[key] = bytearray(count * 8)
    values = <uint64_t*>PyByteArray_AS_STRING(found)
    for at in range(count):
        values[at] += cells[at]
    return 0


cdef list numbers(object sums):
    cdef uint64_t* values = <uint64_t*>PyByteArray_AS_STRING(sums)
    return [values[at] for at in range(len(sums) // 8)]
