"""The head of a response: status line, header fields, and what they decide about framing."""
from ..loop.clock cimport Clock
from ..memory.buffer cimport Buffer
from ..settings cimport Settings


cdef enum:
    # What the Connection field of a response says.
    NO_CONNECTION
    CLOSE
    KEEP_ALIVE


cdef struct HeadFacts:
    # What the application's own fields say.
    int status
    long long content_length  # -1 if it gave none
    bint close  # `Connection: close`
    bint date  # it gave Date
    bint server  # it gave Server
    bint hsts  # it gave Strict-Transport-Security


cdef int start_head(Buffer out, HeadFacts* facts, status, headers) except -1
# The same with a final status and checked fields: names, bytes in lower case, and values, ASCII text or bytes, in turn.
# Content-Length is not in them, but -1 or `length`.
cdef int start_checked_head(Buffer out, HeadFacts* facts, int status, list fields, Py_ssize_t length) except -1
cdef list pairs_of(list fields, Py_ssize_t length)  # these, as an application of ASGI gives them
cdef int end_head(Buffer out, HeadFacts* facts, Settings settings, Clock clock, long long content_length,
                  bint chunked, int connection, bint encrypted) except -1
cdef int put_trailers(Buffer out, list fields) except -1
cdef bint is_streamed(const char* value, Py_ssize_t size) noexcept
cdef bint begins_stream(const char* head, Py_ssize_t size) noexcept
cdef bint is_streamed(const char* value, Py_ssize_t size) noexcept
cdef bytes early_hints(links)
cdef bint has_no_body(int status) noexcept
cdef bint has_control(const char* value, Py_ssize_t size) noexcept
cdef bytes as_bytes(part, str what)
cdef bytes plain_response(int status, Settings settings, Clock clock, bytes extra, bint with_body, bint encrypted)
cdef str reason_phrase(int status)
