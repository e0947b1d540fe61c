# setup.py: hot
"""The heads and trailer sections of responses: fields checked as the application gives them, and their header blocks.

The fields cannot be encoded before they are written, since HPACK goes by their order on the connection. So check_head()
has HTTP/1's lines written, by the one loop that checks what an application gives, and takes the fields from there.
"""
from libc.string cimport memchr, memcmp

from ..http.response_head cimport HeadFacts, put_trailers as put_trailer_lines, start_head
from ..loop.clock cimport Clock
from ..memory.buffer cimport Buffer, give, take
from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from ..settings cimport Settings
from .hpack cimport Encoder

cdef extern from "Python.h":
    int PyOS_strnicmp(const char* one, const char* other, Py_ssize_t size) noexcept

cdef bytes date_name = b"date"
cdef bytes server_name = b"server"
cdef bytes hsts_name = b"strict-transport-security"


cdef int check_head(HeadFacts* facts, status, headers, list fields) except -1:
    """Note what the application's fields say, and append the others to `fields`: bytes, names in lower case.

    Raises TypeError or ValueError for what no response can have, with nothing appended.
    """
    cdef Buffer lines
    if type(headers) is not list:
        headers = list(headers)  # it is read twice
    lines = take()
    try:
        start_head(lines, facts, status, headers)
        return take_fields(lines, <list>headers, True, fields)
    finally:
        lines.size = 0
        give(lines)


cdef list check_trailers(list fields):
    """Return the fields of a trailer section as check_head() does. Raises TypeError, ValueError."""
    cdef Buffer lines = take()
    cdef list checked = []
    try:
        put_trailer_lines(lines, fields)
        take_fields(lines, fields, False, checked)
    finally:
        lines.size = 0
        give(lines)
    return checked


cdef int take_fields(Buffer lines, list given, bint head, list fields) except -1:
    """Append to `fields` what was given and is among the lines of a head or trailer section, as the very objects."""
    cdef const char* line = lines.data
    cdef const char* end = lines.data + lines.size
    cdef const char* text
    cdef Py_ssize_t index = 0, size, value_size
    cdef bytes lower
    if head:
        line = <const char*>memchr(line, c"\n", lines.size) + 1
    while line < end:
        field = given[index]
        index += 1
        name, value = field
        if type(name) is not bytes:
            name = part_as_bytes(name)
        if type(value) is not bytes:
            value = part_as_bytes(value)
        size = PyBytes_GET_SIZE(name)
        value_size = PyBytes_GET_SIZE(value)
        text = PyBytes_AS_STRING(value)
        # One that was left out has not the name and value of the next line.
        if (
            size + value_size + 4 > end - line
            or line[size] != c":"
            or PyOS_strnicmp(line, PyBytes_AS_STRING(name), size) != 0
            or memcmp(line + size + 2, text, value_size) != 0
            or line[size + value_size + 2] != c"\r"
        ):
            continue
        if not (head and of_connection(line, size)):
            lower = name
            if memcmp(line, PyBytes_AS_STRING(name), size) != 0:
                lower = PyBytes_FromStringAndSize(line, size)
            value = stripped(<bytes>value)
            if type(field) is tuple and lower is (<tuple>field)[0] and value is (<tuple>field)[1]:
                fields.append(field)
            else:
                fields.append((lower, value))
        line += size + value_size + 4
    return 0


cdef bytes part_as_bytes(part):
    """Return as bytes a name or value that field_bytes() has accepted."""
    return part.encode() if isinstance(part, str) else bytes(part)


cdef bytes stripped(bytes value):
    """Return a value without white space around it, which is malformed in HTTP/2 (RFC 9113 section 8.2.1)."""
    cdef const char* text = PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    if size and (text[0] in (c" ", c"\t") or text[size - 1] in (c" ", c"\t")):
        return value.strip(b" \t")
    return value


cdef bint of_connection(const char* name, Py_ssize_t size) noexcept:
    """Return whether a field is about a connection, which HTTP/2 manages without fields (RFC 9113 section 8.2.2)."""
    if size == 10:
        return memcmp(name, b"connection", 10) == 0 or memcmp(name, b"keep-alive", 10) == 0
    if size == 7:
        return memcmp(name, b"upgrade", 7) == 0
    if size == 16:
        return memcmp(name, b"proxy-connection", 16) == 0
    return size == 17 and memcmp(name, b"transfer-encoding", 17) == 0


cdef int put_response(Buffer out, Encoder encoder, HeadFacts* facts, list fields, Settings settings, Clock clock,
                      long long length, bint encrypted) except -1:
    """Append a final response's block: what the server adds, and the application's checked fields.

    A `length` of -1 adds no Content-Length.
    """
    cdef bytes name, value
    encoder.begin(out)
    encoder.status(out, facts.status)
    if settings.date and not facts.date:
        encoder.field(out, date_name, clock.date_object())
    if settings.server is not None and not facts.server:
        encoder.field(out, server_name, settings.server)
    for name, value in settings.default_headers:
        if facts.date and name == date_name or facts.server and name == server_name:
            continue
        if not of_connection(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)):
            encoder.field(out, name, stripped(value))
    if encrypted and settings.hsts is not None and not facts.hsts:
        encoder.field(out, hsts_name, settings.hsts)
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
