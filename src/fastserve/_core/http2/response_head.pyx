"""The payload of a response's HEADERS frames: header blocks of fields that check_head() and check_trailers() gave."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

from ..http.response_head cimport HeadFacts, of_connection, stripped
from ..loop.clock cimport DATE_SIZE, Clock
from ..memory.buffer cimport Buffer
from ..settings cimport Settings
from .hpack cimport Encoder

cdef bytes date_name = b"date"
cdef bytes server_name = b"server"
cdef bytes last_date = b" " * DATE_SIZE


cdef bytes date_value(Clock clock):
    """Return the date as an object, the same one for all connections in a second."""
    global last_date
    cdef const char* now = clock.date()
    if memcmp(now, PyBytes_AS_STRING(last_date), DATE_SIZE) != 0:
        last_date = PyBytes_FromStringAndSize(now, DATE_SIZE)
    return last_date


cdef int put_response(Buffer out, Encoder encoder, HeadFacts* facts, list fields, Settings settings, Clock clock,
                      long long length) except -1:
    """Append a final response's block: what the server adds, and the application's checked fields.

    A `length` of -1 adds no Content-Length.
    """
    cdef bytes name, value
    encoder.begin(out)
    encoder.status(out, facts.status)
    if settings.date and not facts.date:
        encoder.field(out, date_name, date_value(clock))
    if settings.server is not None and not facts.server:
        encoder.field(out, server_name, settings.server)
    for name, value in settings.default_headers:
        if facts.date and name == date_name or facts.server and name == server_name:
            continue
        if not of_connection(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)):
            encoder.field(out, name, stripped(value))
    if length >= 0:
        encoder.content_length(out, length)
    return put_fields(out, encoder, fields)


cdef int put_interim(Buffer out, Encoder encoder, int status, list fields) except -1:
    """Append the block of a 1xx response."""
    encoder.begin(out)
    encoder.status(out, status)
    return put_fields(out, encoder, fields)


cdef int put_trailers(Buffer out, Encoder encoder, list fields) except -1:
    """Append the block of a trailer section."""
    encoder.begin(out)
    return put_fields(out, encoder, fields)


cdef inline int put_fields(Buffer out, Encoder encoder, list fields) except -1:
    cdef bytes name, value
    for name, value in fields:
        encoder.field(out, name, value)
    return 0
