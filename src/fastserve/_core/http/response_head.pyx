# setup.py: hot
"""The head of a response: status line, header fields, and what they decide about framing.

start_head() encodes what the application gave, as soon as it gives it, so that a wrong field is an error of that
send(); end_head() adds what only the first piece of body decides. Names go out in lower case. Content-Length,
Connection and Transfer-Encoding are taken out of the application's fields: the first two say what it wants and are
written by end_head(), the third is the server's alone (ASGI HTTP: "Response Start").
"""
from http import HTTPStatus

from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy

from ..loop.clock cimport DATE_SIZE, Clock
from ..memory.buffer cimport Buffer
from ..python cimport PyBytes_AS_STRING, PyBytes_GET_SIZE, PyUnicode_AsUTF8AndSize
from ..settings cimport Settings
from .field_names cimport LOWER
from .rules cimport equals, forbidden_trailer, has_member

cdef extern from "Python.h":
    int PyOS_strnicmp(const char* one, const char* other, Py_ssize_t size) noexcept
    long PyLong_AsLongAndOverflow(object number, int* overflow) except? -1

cdef extern from "http/plain_text.h" nogil:
    char* fastserve_put_number(char* to, uint64_t number)

cdef extern from "http/field_text.h" nogil:
    bint fastserve_has_control(const char* value, Py_ssize_t size)
    bint fastserve_is_small(const char* name, Py_ssize_t size)  # nothing but small letters and hyphens

cdef enum:
    LONGEST_NUMBER = 20  # digits

cdef list STATUS_LINES = [None] * 1000
for code in HTTPStatus:
    STATUS_LINES[code] = f"HTTP/1.1 {code.value} {code.phrase}\r\n".encode()


cdef str reason_phrase(int status):
    """Return the reason phrase of a status, empty if it has none."""
    return status_line(status)[13:-2].decode()


cdef bint has_no_body(int status) noexcept:
    """Return whether a status has no body, with any method (RFC 9112 section 6.3; 205: RFC 9110 section 15.3.6)."""
    return status < 200 or status == 204 or status == 205 or status == 304


cdef bytes status_line(int status):
    line = STATUS_LINES[status]
    if line is None:
        # The space belongs to the status line even where there is no reason phrase (RFC 9112 section 4).
        line = STATUS_LINES[status] = b"HTTP/1.1 %d \r\n" % status
    return line


cdef bytes as_bytes(part, str what):
    if isinstance(part, (bytes, bytearray, memoryview)):
        return bytes(part)
    raise TypeError(f"{what} must be bytes, not {type(part).__name__}: {part!r}")


cdef bytes field_bytes(part, bint trailer, str what):
    """Return the name or value of a field as bytes. A header may be ASCII text, as in h11. TypeError, ValueError."""
    if isinstance(part, str) and not trailer:
        return part.encode("ascii")
    return as_bytes(part, f"the {what} of a {'trailer' if trailer else 'header'}")


cdef int start_head(Buffer out, HeadFacts* facts, status, headers) except -1:
    """Append the status line and the application's fields, and note what these say.

    Raises TypeError or ValueError for what no response can have, with nothing appended.
    """
    cdef Py_ssize_t mark = out.size
    cdef long code
    cdef int overflow = 0
    if not isinstance(status, int):
        raise TypeError(f"the response status must be an integer, not {status!r}")
    code = PyLong_AsLongAndOverflow(status, &overflow)
    if not 100 <= code <= 999:  # -1 if it overflows
        raise ValueError(f"the response status must have three digits: {status!r}")
    start_line(out, facts, <int>code)
    return add_fields(out, facts, headers, mark)


cdef inline int start_line(Buffer out, HeadFacts* facts, int status) except -1:
    facts.status = status
    facts.content_length = -1
    facts.close = facts.date = facts.server = facts.hsts = False
    return out.append_bytes(status_line(status))


cdef int start_checked_head(Buffer out, HeadFacts* facts, int status, list fields, Py_ssize_t length) except -1:
    cdef const char* text
    cdef Py_ssize_t at, size
    cdef bytes name
    cdef object value
    start_line(out, facts, status)
    facts.content_length = length
    for at in range(0, len(fields), 2):
        name, value = <bytes>fields[at], fields[at + 1]
        if type(value) is bytes:
            text, size = PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
        else:
            text = PyUnicode_AsUTF8AndSize(value, &size)
        if not is_servers_own(facts, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), text, size):
            add_checked_field(out, name, text, size)
    return 0


cdef int add_checked_field(Buffer out, bytes name, const char* value, Py_ssize_t size) except -1:
    cdef char* to = out.reserve(PyBytes_GET_SIZE(name) + size + 4)
    memcpy(to, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    put_value(out, to, PyBytes_GET_SIZE(name), value, size)
    return 0


cdef list pairs_of(list fields, Py_ssize_t length):
    pairs = [
        (fields[at], fields[at + 1] if type(fields[at + 1]) is bytes else (<str>fields[at + 1]).encode("ascii"))
        for at in range(0, len(fields), 2)
    ]
    if length >= 0:
        pairs.append((b"content-length", b"%d" % length))
    return pairs


cdef int add_fields(Buffer out, HeadFacts* facts, fields, Py_ssize_t mark) except -1:
    """Append the application's fields, of a trailer section if `facts` is NULL. After an error, go back to `mark`."""
    cdef bint taken = False
    try:
        for name, value in fields:
            if type(name) is not bytes:
                name = field_bytes(name, facts == NULL, "name")
            if type(value) is not bytes:
                value = field_bytes(value, facts == NULL, "value")
            add_field(out, facts, <bytes>name, <bytes>value)
        taken = True
    finally:  # cheaper than `except` if nothing is raised
        if not taken:
            out.size = mark
    return 0


# Subtypes of application/ whose body is read piece by piece, without the x- that some are written with.
cdef tuple STREAMED = (
    b"ndjson", b"jsonl", b"jsonlines", b"json-lines", b"json-stream", b"stream+json", b"json-seq",
    b"vnd.amazon.eventstream",
)


cdef bint starts(const char* text, Py_ssize_t size, bytes lower) noexcept:
    """Return whether `text` begins with `lower`, in any case."""
    return size >= PyBytes_GET_SIZE(lower) and PyOS_strnicmp(text, PyBytes_AS_STRING(lower), PyBytes_GET_SIZE(lower)) == 0


cdef bint matches(const char* text, Py_ssize_t size, bytes lower) noexcept:
    return size == PyBytes_GET_SIZE(lower) and starts(text, size, lower)


cdef bint is_streamed(const char* value, Py_ssize_t size) noexcept:
    """Return whether a Content-Type is that of a stream: its client waits for the head, not for the first piece."""
    cdef const char* semicolon = <const char*>memchr(value, c";", size)
    cdef bytes subtype
    if semicolon != NULL:
        size = semicolon - value
    while size and value[size - 1] in (c" ", c"\t"):
        size -= 1
    if not starts(value, size, b"application/"):
        return (
            matches(value, size, b"text/event-stream")
            or matches(value, size, b"multipart/x-mixed-replace")
            or matches(value, size, b"multipart/mixed")
        )
    value += 12
    size -= 12
    if starts(value, size, b"grpc") or starts(value, size, b"connect+"):
        return True
    if size > 9 and matches(value + size - 9, 9, b"+json-seq"):
        return True
    if starts(value, size, b"x-"):
        value += 2
        size -= 2
    for subtype in STREAMED:
        if matches(value, size, subtype):
            return True
    return False


cdef bint begins_stream(const char* head, Py_ssize_t size) noexcept:
    """Return whether the Content-Type in a head as start_head() writes it is that of a stream."""
    cdef const char* end = head + size
    cdef const char* line_end
    while head < end:
        line_end = <const char*>memchr(head, c"\n", end - head)
        if line_end == NULL:
            break
        if line_end - head > 15 and memcmp(head, b"content-type: ", 14) == 0:
            return is_streamed(head + 14, line_end - head - 15)
        head = line_end + 1
    return False


def is_streaming(bytes content_type):
    """Return whether this Content-Type is that of a stream, whose head does not wait for its first piece."""
    return is_streamed(PyBytes_AS_STRING(content_type), PyBytes_GET_SIZE(content_type))


cdef int put_trailers(Buffer out, list fields) except -1:
    """Append the lines of a trailer section (RFC 9112 section 7.1.2), or nothing. Raises TypeError, ValueError."""
    return add_fields(out, NULL, fields, out.size)


cdef bytes early_hints(links):
    """Return a 103 response (RFC 8297) with a Link field for each of `links`, bytes. Raises TypeError, ValueError."""
    cdef HeadFacts facts
    cdef Buffer out = Buffer()
    start_head(out, &facts, 103, [(b"link", as_bytes(link, "a link")) for link in links])
    out.append(b"\r\n", 2)
    return out.data[:out.size]


cdef bint has_control(const char* value, Py_ssize_t size) noexcept:
    """Return whether there is a control character other than a tab, invalid in a field value (RFC 9110 section 5.5)."""
    return fastserve_has_control(value, size)


cdef int add_field(Buffer out, HeadFacts* facts, bytes name, bytes value) except -1:
    """Append a field of the application's, of a trailer section if `facts` is NULL."""
    cdef Py_ssize_t name_size = PyBytes_GET_SIZE(name), value_size = PyBytes_GET_SIZE(value), at
    cdef const char* value_data = PyBytes_AS_STRING(value)
    cdef const char* name_data = PyBytes_AS_STRING(name)
    cdef char* to = out.reserve(name_size + value_size + 4)
    cdef char byte
    if fastserve_is_small(name_data, name_size):
        memcpy(to, name_data, name_size)
    else:
        for at in range(name_size):
            byte = <char>LOWER[<unsigned char>name_data[at]]
            if byte == 0:
                raise ValueError(f"invalid header name: {name!r}")
            to[at] = byte
        if name_size == 0:
            raise ValueError("empty header name")
    if fastserve_has_control(value_data, value_size):
        raise ValueError(f"invalid value of header {name!r}: {value!r}")
    if facts == NULL:
        if forbidden_trailer(to, name_size):
            raise ValueError(f"field not allowed in trailers: {name!r}")
    elif is_servers_own(facts, to, name_size, value_data, value_size):
        return 0
    put_value(out, to, name_size, value_data, value_size)
    return 0


cdef inline void put_value(Buffer out, char* to, Py_ssize_t name_size, const char* value, Py_ssize_t size) noexcept:
    """Complete the line of a field whose name is at `to` already, the end of the output."""
    to += name_size
    to[0] = c":"
    to[1] = c" "
    memcpy(to + 2, value, size)
    to += 2 + size
    to[0] = c"\r"
    to[1] = c"\n"
    out.size += name_size + size + 4


cdef inline bint is_servers_own(HeadFacts* facts, const char* name, Py_ssize_t name_size, const char* value,
                         Py_ssize_t value_size) except -1:
    """Note a field that concerns the server. Return whether the application's own is left out."""
    if name_size == 4 and memcmp(name, b"date", 4) == 0:
        facts.date = True
    elif name_size == 6 and memcmp(name, b"server", 6) == 0:
        facts.server = True
    elif name_size == 14 and memcmp(name, b"content-length", 14) == 0:
        note_length(facts, value, value_size)
        return True
    elif name_size == 25 and memcmp(name, b"strict-transport-security", 25) == 0:
        facts.hsts = True
    elif name_size == 17 and memcmp(name, b"transfer-encoding", 17) == 0:
        return True
    elif name_size == 10 and memcmp(name, b"connection", 10) == 0:
        facts.close = facts.close or has_member(value, value_size, b"close", 5)
        # Other members are the application's own, such as `upgrade` with a 426.
        return equals(value, value_size, b"close", 5) or equals(value, value_size, b"keep-alive", 10)
    return False


cdef int note_length(HeadFacts* facts, const char* value, Py_ssize_t size) except -1:
    cdef long long length = 0
    cdef Py_ssize_t at
    cdef bint valid = 0 < size < 19
    for at in range(size):
        valid = valid and c"0" <= value[at] <= c"9"
        if valid:
            length = length * 10 + (value[at] - c"0")
    if not valid:
        raise ValueError(f"invalid Content-Length: {value[:size]!r}")
    if facts.content_length not in (-1, length):
        raise ValueError("the response has two different Content-Length fields")
    facts.content_length = length
    return 0


cdef int end_head(Buffer out, HeadFacts* facts, Settings settings, Clock clock, long long content_length,
                  bint chunked, int connection, bint encrypted) except -1:
    """Append what the server adds, and the empty line.

    A `content_length` of -1 adds no such field; `connection` is NO_CONNECTION, CLOSE or KEEP_ALIVE. HSTS is for an
    `encrypted` connection alone (RFC 6797 section 7.2).
    """
    if settings.date and not facts.date:
        out.append(b"date: ", 6)
        out.append(clock.date(), DATE_SIZE)
        out.append(b"\r\n", 2)
    if settings.server is not None and not facts.server:
        out.append(b"server: ", 8)
        out.append_bytes(settings.server)
        out.append(b"\r\n", 2)
    for name, value in settings.default_headers:
        if name == b"date" and facts.date or name == b"server" and facts.server:
            continue
        out.append_bytes(name)
        out.append(b": ", 2)
        out.append_bytes(value)
        out.append(b"\r\n", 2)
    if encrypted and settings.hsts is not None and not facts.hsts:
        out.append(b"strict-transport-security: ", 27)
        out.append_bytes(settings.hsts)
        out.append(b"\r\n", 2)
    if content_length >= 0:
        out.append(b"content-length: ", 16)
        out.size = fastserve_put_number(out.reserve(LONGEST_NUMBER), content_length) - out.data
        out.append(b"\r\n", 2)
    elif chunked:
        out.append(b"transfer-encoding: chunked\r\n", 28)
    if connection == CLOSE:
        out.append(b"connection: close\r\n", 19)
    elif connection == KEEP_ALIVE:
        out.append(b"connection: keep-alive\r\n", 24)
    return out.append(b"\r\n", 2)


cdef bytes plain_response(int status, Settings settings, Clock clock, bytes extra, bint with_body, bint encrypted):
    """Return a complete response of the server's own: the reason phrase as text, and `Connection: close`.

    `extra` is further header lines.
    """
    cdef HeadFacts facts
    cdef Buffer out = Buffer()
    cdef bytes body = reason_phrase(status).encode()
    start_head(out, &facts, status, [(b"content-type", b"text/plain; charset=utf-8")])
    out.append_bytes(extra)
    end_head(out, &facts, settings, clock, len(body), False, CLOSE, encrypted)
    if with_body:
        out.append_bytes(body)
    return out.data[:out.size]
