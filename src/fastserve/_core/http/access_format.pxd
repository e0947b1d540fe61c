"""Formats of access lines, compiled to steps."""
cimport cython
from libc.stdint cimport uint64_t

from ..memory.buffer cimport Buffer
from ..python cimport PyObject
from .account cimport Account


cdef enum:
    TEXTS = 20
    SHAPES = 8  # that a format keeps


cdef enum:  # in the order of the names in access_steps.py
    LITERAL
    # Steps of JSON: a constant, an object in the object, and its end.
    CONSTANT
    OPEN
    CLOSE
    # Texts of the request; the framework's route is known at the end.
    CLIENT_HOST
    METHOD
    RAW_PATH
    PATH_DECODED
    QUERY_STRING
    VERSION
    SCHEME
    HOST
    REFERER
    USER_AGENT
    REQUEST_ID
    TRACE_ID
    ROUTE
    # What else is known when the head of the response is given.
    CLIENT_PORT
    USER
    TIME_CLF
    TIME_ISO
    TIME_BEGAN
    TARGET
    REQUEST_LINE
    URL
    PROTOCOL
    HOST_NAME
    STATUS
    PHRASE
    HEADER
    RESPONSE_HEADER
    SUMMARY
    WAIT
    FIRST_BYTE
    # What the end of the exchange alone knows.
    DURATION
    BODY_BYTES
    BYTES_IN
    BYTES_OUT
    ENDING
    ABORTED
    MESSAGES_IN
    MESSAGES_OUT
    CLOSE_CODE
    CODES


cdef struct Step:
    int op
    bint comma  # before it, unless it is the first of its object
    # What precedes the value, and what follows it; borrowed from `kept`, with PADDING after each. Of LITERAL the first alone.
    const char* before
    Py_ssize_t before_size
    const char* after
    Py_ssize_t after_size
    void* argument  # borrowed from `kept`; the name of a header, or a constant
    int scale  # of a time: 0 for seconds, 3, 6, 9 for thousandths and so on
    int digits  # after the point
    Py_ssize_t limit  # bytes of the value


cdef struct Values:
    # What is known of one request.
    PyObject* of[TEXTS]  # by code: bytes or a str; NULL for none
    PyObject* owned[TEXTS]  # those of them that nothing else keeps
    int count  # of these
    uint64_t lacking  # a bit for each code whose value is missing


cdef struct Part:
    # A value and all that precedes it since the one before.
    const char* before
    Py_ssize_t before_size
    Step* step


cdef struct Shape:
    # What is the same in all lines of JSON that have these values and lack the same ones.
    PyObject* method  # these three are owned
    PyObject* version
    PyObject* scheme
    uint64_t lacking
    int status
    Py_ssize_t count  # of parts
    Part* parts  # one block, with the texts after them; NULL until a second line is like that
    const char* end  # follows the last part
    Py_ssize_t end_size


@cython.final
cdef class AccessFormat:
    cdef Step* steps
    cdef Py_ssize_t count
    cdef list kept
    cdef Py_ssize_t room  # bytes that a line may take before it is cut
    cdef Shape shapes[SHAPES]  # each at a place that follows from its values
    cdef Py_ssize_t text_room  # bytes that the texts of a shape may take
    cdef bint present  # the value that is being written is there, be it empty
    cdef readonly bint is_json
    cdef readonly bint late  # a line needs the end of its exchange
    cdef readonly bint wants_headers  # those of the response
    cdef readonly bint wants_first_byte
    cdef uint64_t wanted  # a bit for each code of a text that lines show, be it as a part
    # The real time less monotonic(), and when it was read.
    cdef double offset, offset_read
    # Times in texts, each for the second before it.
    cdef long long iso_second, clf_second, plain_second
    cdef bytes iso, clf, plain

    cdef int put(self, Buffer out, Account account) except -1  # a line and its end
    cdef int gather(self, Account account, Values* values) except -1
    cdef int keep_fields(self, list headers, Values* values) except -1
    cdef char* run(self, char* to, Account account, Values* values, Py_ssize_t path, Py_ssize_t query) except NULL
    cdef char* run_fields(
        self, char* to, Account account, Values* values, Py_ssize_t path, Py_ssize_t query
    ) except NULL
    # Of JSON, the line of a shape that has come before: writes nothing for any other.
    cdef char* run_shape(self, char* to, Account account, Values* values) except NULL
    cdef bint make(self, Shape* shape, Values* values) except -1
    cdef char* value(
        self, char* to, Account account, Values* values, Step* step, Py_ssize_t path, Py_ssize_t query
    ) except NULL
    # These write to where there is room, and return what follows.
    cdef char* put_some(self, char* to, long long number) noexcept
    cdef char* put_span(self, char* to, double since, double until, Step* step) noexcept
    cdef char* put_target(self, char* to, Values* values, Py_ssize_t path, Py_ssize_t query) except NULL
    cdef char* put_known(self, char* to, PyObject* value, Py_ssize_t limit) except NULL
    cdef char* put_object(self, char* to, value, Py_ssize_t limit) except NULL
    cdef char* put_text(self, char* to, const char* data, Py_ssize_t size, Py_ssize_t limit) noexcept
    cdef char* put_escaped(
        self, char* to, const char* data, Py_ssize_t size, Py_ssize_t limit, Py_ssize_t plain
    ) noexcept
    cdef char* put_time(self, char* to, int op, Account account) except NULL
    cdef double real(self, double when) noexcept
