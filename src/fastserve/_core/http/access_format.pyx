"""Formats of access lines, compiled to steps.

A format is a list of steps, each a literal or the code of a value, which is run into the buffer of the access log. In JSON
a step is a field: its key, its value and what ends it, left out where the value is empty. Which atoms and fields there are,
and by which names, is for fastserve.logging.access_format to say; what follows from the steps is found by access_steps.py.

No value can end a line or leave its quotes: JSON has \\u00xx for every byte that is not printable ASCII, each byte as one
character of latin-1, other formats have \\xHH. Each value is cut, counted as written, and a line at LONGEST bytes: a text at
its end, JSON by its path and query, so that it stays valid.
"""
import time

from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy, memset

from ..loop.clock cimport monotonic
from ..memory.buffer cimport Buffer
from ..python cimport (
    PyBytes_AS_STRING, PyBytes_GET_SIZE, PyDict_GetItemWithError, PyDict_Size, PyMem_Calloc, PyMem_Free, PyMem_Malloc,
    PyObject, PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyUnicode_AsUTF8AndSize, Py_DECREF, Py_INCREF, Py_XDECREF,
)
from . import access_steps
from .account cimport Account, response_field, route_of, text_field, trace_of, user_of, without_port
from .response_head cimport reason_phrase

cdef enum:
    LONGEST = 4095  # bytes of a line without its end: what a pipe takes in one piece, with it
    PATH = 1024
    QUERY = 768
    OTHER = 256
    PADDING = 64

assert len(access_steps.NAMES) == CODES <= 64 and <int>ROUTE < <int>TEXTS
assert (PATH, QUERY, OTHER, PADDING) == (
    access_steps.PATH, access_steps.QUERY, access_steps.OTHER, access_steps.PADDING
)

cdef uint64_t ALL_TEXTS = (<uint64_t>2 << ROUTE) - (<uint64_t>2 << CLOSE)
cdef uint64_t OF_HEADERS = <uint64_t>1 << HOST | <uint64_t>1 << REFERER | <uint64_t>1 << USER_AGENT | <uint64_t>1 << TRACE_ID
cdef uint64_t OF_WEBSOCKETS = <uint64_t>1 << MESSAGES_IN | <uint64_t>1 << MESSAGES_OUT | <uint64_t>1 << CLOSE_CODE
cdef double OFFSET_SECONDS = 0.1  # that the difference of the real time and monotonic() is used for

cdef bytes HEXADECIMAL = b"0123456789abcdef"

cdef extern from "loop/clock.h" nogil:
    double fastserve_real()

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    const char* PyUnicode_DATA(object text)

cdef extern from "http/plain_text.h" nogil:
    Py_ssize_t copy_plain "fastserve_copy_plain"(char* to, const char* text, Py_ssize_t size)
    char* put_number "fastserve_put_number"(char* to, uint64_t number)
    char* put_six "fastserve_put_six"(char* to, unsigned int number)
    char* put_seconds "fastserve_put_seconds"(char* to, double since, double until, int scale, int digits)

cdef inline char* put_bytes(char* to, const char* text, Py_ssize_t size) noexcept:
    memcpy(to, text, size)
    return to + size


cdef inline char* put_fixed(char* to, const char* text, Py_ssize_t size) noexcept:
    """Write a text after which there are PADDING bytes, to where there is room for as many more."""
    if size <= PADDING:
        memcpy(to, text, PADDING)  # of a size that the compiler knows
    else:
        memcpy(to, text, size)
    return to + size


cdef inline object known(PyObject* value):
    return None if value == NULL else <object>value


cdef inline void lend(Values* values, int code, PyObject* value) noexcept:
    """Note what is shown for a code: bytes or a str, which the caller keeps until the line is written."""
    values.of[code] = value
    values.lacking &= ~(<uint64_t>1 << code)


cdef inline int keep(Values* values, int code, PyObject* value) except -1:
    """Note what is shown for a code, and keep it."""
    if type(<object>value) is not bytes and type(<object>value) is not str:
        return keep_other(values, code, <object>value)
    Py_INCREF(<object>value)
    values.owned[values.count] = value
    values.count += 1
    lend(values, code, value)
    return 0


cdef int keep_other(Values* values, int code, value) except -1:
    if value is not None:
        text = str(value)
        keep(values, code, <PyObject*>text)
    return 0


cdef inline int lend_or_keep(Values* values, int code, value) except -1:
    """Note what an account keeps."""
    if type(value) is not bytes and type(value) is not str:
        return keep_other(values, code, value)
    lend(values, code, <PyObject*>value)
    return 0


cdef int keep_field(Values* values, int code, value) except -1:
    """Keep a field of the request, in place of an earlier one of its name."""
    cdef int at
    if value is None:
        return 0
    for at in range(values.count):
        if values.owned[at] == values.of[code]:
            Py_DECREF(<object>values.owned[at])
            values.count -= 1
            values.owned[at] = values.owned[values.count]
            break
    values.of[code] = NULL
    values.lacking |= <uint64_t>1 << code
    return keep(values, code, <PyObject*>value)


cdef inline void release(Values* values) noexcept:
    cdef int at
    for at in range(values.count):
        Py_DECREF(<object>values.owned[at])


cdef inline Py_ssize_t limit_of(Step* step, Py_ssize_t path, Py_ssize_t query) noexcept:
    if RAW_PATH <= step.op <= QUERY_STRING:
        return query if step.op == QUERY_STRING else path
    return step.limit


cdef class AccessFormat:
    """A format: `steps` are tuples (code, text before, text after, argument, scale, digits)."""

    def __init__(self, list steps not None, bint is_json):
        cdef Step* step
        prepared = access_steps.Prepared(steps, is_json)
        self.steps = <Step*>PyMem_Calloc(max(len(steps), 1), sizeof(Step))
        if self.steps == NULL:
            raise MemoryError
        self.kept = prepared.steps
        self.count = 0
        self.is_json = is_json
        self.room, self.text_room = prepared.room, prepared.text_room
        self.late, self.wanted = prepared.late, prepared.wanted
        self.wants_headers, self.wants_first_byte = prepared.wants_headers, prepared.wants_first_byte
        self.iso_second = self.clf_second = self.plain_second = -1
        self.offset_read = -1
        for code, comma, before, before_size, after, after_size, argument, scale, digits, limit in self.kept:
            step = &self.steps[self.count]
            step.op, step.comma = code, comma
            step.before, step.before_size = before, before_size
            step.after, step.after_size = after, after_size
            step.argument = <void*>argument
            step.scale, step.digits, step.limit = scale, digits, limit
            self.count += 1

    def __dealloc__(self):
        cdef int at
        for at in range(SHAPES):
            forget(&self.shapes[at])
        PyMem_Free(self.steps)

    cdef int put(self, Buffer out, Account account) except -1:
        cdef Py_ssize_t path = PATH, query = QUERY, size = 0
        cdef Values values
        cdef char* begin = out.reserve(self.room)
        memset(values.of, 0, sizeof(values.of))
        values.count = 0
        values.lacking = ALL_TEXTS
        try:
            self.gather(account, &values)
            if self.is_json:
                size = self.run_shape(begin, account, &values) - begin
            while not 0 < size <= LONGEST:
                size = self.run(begin, account, &values, path, query) - begin
                if size <= LONGEST:
                    break
                if not self.is_json or path == 0:
                    size = LONGEST
                    break
                path //= 2
                query //= 2
        finally:
            release(&values)
        begin[size] = c"\n"
        out.size += size + 1
        return 0

    cdef int gather(self, Account account, Values* values) except -1:
        """Find the texts that lines show of a request."""
        cdef dict scope = account.scope
        cdef uint64_t wanted = self.wanted
        cdef PyObject* value
        lend_or_keep(values, METHOD, account.method)
        lend_or_keep(values, VERSION, account.version)
        lend_or_keep(values, RAW_PATH, account.raw_path)
        if type(account.query_string) is not bytes or PyBytes_GET_SIZE(account.query_string):
            lend_or_keep(values, QUERY_STRING, account.query_string)
        if account.request_id is not None:
            lend(values, REQUEST_ID, <PyObject*>account.request_id)
        if wanted & OF_HEADERS and type(account.fields) is list:
            self.keep_fields(<list>account.fields, values)
        # For whom a proxy has asked may be for the application to say.
        if wanted >> SCHEME & 1:
            value = PyDict_GetItemWithError(scope, "scheme")
            if value != NULL:
                keep(values, SCHEME, value)
        if wanted >> CLIENT_HOST & 1:
            value = PyDict_GetItemWithError(scope, "client")
            if value != NULL and type(<object>value) is tuple and PyTuple_GET_SIZE(<object>value):
                keep(values, CLIENT_HOST, PyTuple_GET_ITEM(<object>value, 0))
            elif value != NULL and isinstance(<object>value, (tuple, list)) and <object>value:
                host = (<object>value)[0]
                keep(values, CLIENT_HOST, <PyObject*>host)
        if wanted >> PATH_DECODED & 1:
            value = PyDict_GetItemWithError(scope, "path")
            if value != NULL:
                keep(values, PATH_DECODED, value)
        if wanted >> ROUTE & 1 and PyDict_Size(scope) > account.items:
            route = route_of(scope)
            keep(values, ROUTE, <PyObject*>route)
        if not account.websocket:
            values.lacking |= OF_WEBSOCKETS
        if not account.aborted:
            values.lacking |= <uint64_t>1 << ABORTED
        return 0

    cdef int keep_fields(self, list headers, Values* values) except -1:
        """Find the fields of the request that most formats have, in one pass."""
        cdef const char* name
        cdef Py_ssize_t size
        cdef int code
        for pair in headers:
            if type(pair) is not tuple or PyTuple_GET_SIZE(pair) != 2:
                continue
            key, value = (<tuple>pair)[0], (<tuple>pair)[1]
            if type(key) is not bytes or type(value) is not bytes:
                continue
            name, size = PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)
            if size == 4 and memcmp(name, b"host", 4) == 0:
                code = HOST
            elif size == 7 and memcmp(name, b"referer", 7) == 0:
                code = REFERER
            elif size == 10 and memcmp(name, b"user-agent", 10) == 0:
                code = USER_AGENT
            elif size == 11 and memcmp(name, b"traceparent", 11) == 0:
                code = TRACE_ID
                value = trace_of(<bytes>value)
            else:
                continue
            keep_field(values, code, value)
        return 0

    cdef char* run(self, char* to, Account account, Values* values, Py_ssize_t path, Py_ssize_t query) except NULL:
        """Write a line without its end to where there is room for it, and return what follows it."""
        cdef Step* step
        cdef Py_ssize_t at
        cdef char* begin
        cdef PyObject* value
        if self.is_json:
            return self.run_fields(to, account, values, path, query)
        for at in range(self.count):
            step = &self.steps[at]
            begin = to = put_fixed(to, step.before, step.before_size)
            if step.op == LITERAL:
                continue
            self.present = True
            if step.op <= ROUTE:
                value = values.of[step.op]
                to = self.put_known(to, value, limit_of(step, path, query))
            else:
                to = self.value(to, account, values, step, path, query)
            if to == begin and not self.present:
                to[0] = c"-"
                to += 1
        return to

    cdef char* run_fields(
        self, char* to, Account account, Values* values, Py_ssize_t path, Py_ssize_t query
    ) except NULL:
        """Do the same for a format of JSON."""
        cdef Step* step = self.steps - 1
        cdef Step* last = step + self.count
        cdef int op
        cdef char* mark
        cdef char* begin
        cdef PyObject* value
        while step != last:
            step += 1
            op = step.op
            if values.lacking >> op & 1:
                continue
            mark = to
            if step.comma and (to - 1)[0] != c"{":
                to[0] = c","
                to += 1
            if op <= CLOSE:
                to = put_fixed(to, step.before, step.before_size)
                continue
            if op <= ROUTE:
                value = values.of[op]
                begin = put_fixed(to, step.before, step.before_size)
                to = self.put_known(begin, value, limit_of(step, path, query))
                if to != begin:
                    to = put_fixed(to, step.after, step.after_size)
                    continue
            else:
                begin = to = put_fixed(to, step.before, step.before_size)
                to = self.value(to, account, values, step, path, query)
                if to != begin:
                    if step.after_size:
                        to = put_fixed(to, step.after, step.after_size)
                    continue
            to = mark
        return to

    cdef char* run_shape(self, char* to, Account account, Values* values) except NULL:
        """Do the same for a line like an earlier one; write nothing for any other, or where a value turns out empty."""
        cdef uint64_t spread = <size_t>values.of[METHOD] >> 4 ^ values.lacking >> QUERY_STRING ^ <uint64_t>account.status
        cdef Shape* shape = &self.shapes[spread % SHAPES]
        cdef Part* part
        cdef Step* step
        cdef char* line = to
        cdef char* begin
        cdef Py_ssize_t at
        cdef int op
        if account.status <= 0:
            return line
        if not is_of(shape, values, account.status):
            remember(shape, values, account.status)
            return line
        if shape.parts == NULL and not self.make(shape, values):
            return line
        for at in range(shape.count):
            part = &shape.parts[at]
            step = part.step
            op = step.op
            begin = to = put_fixed(to, part.before, part.before_size)
            if op <= ROUTE:
                to = self.put_known(to, values.of[op], step.limit)
            elif op == BYTES_IN:
                to = put_number(to, account.received)
            elif op == BYTES_OUT:
                to = put_number(to, account.sent)
            elif op == DURATION:
                to = put_seconds(to, account.began, account.ended, step.scale, step.digits)
            elif op == WAIT:
                to = put_seconds(to, account.began, account.started, step.scale, step.digits)
            else:
                to = self.value(to, account, values, step, PATH, QUERY)
            if to == begin:
                return line
        return put_fixed(to, shape.end, shape.end_size)

    cdef bint make(self, Shape* shape, Values* values) except -1:
        """Find the parts of a shape. Return whether it has any: not if it is of an empty value."""
        cdef Step* step
        cdef Py_ssize_t at
        cdef char* begin
        cdef char* to
        cdef char* value
        cdef Part* part
        shape.parts = <Part*>PyMem_Malloc(self.count * sizeof(Part) + self.text_room + PADDING)
        if shape.parts == NULL:
            raise MemoryError
        begin = to = <char*>(shape.parts + self.count)
        for at in range(self.count):
            step = &self.steps[at]
            if values.lacking >> step.op & 1:
                continue
            if step.comma and (to == begin or (to - 1)[0] != c"{"):
                to[0] = c","
                to += 1
            to = put_fixed(to, step.before, step.before_size)
            if not is_constant(step.op):
                part = &shape.parts[shape.count]
                part.before, part.before_size, part.step = begin, to - begin, step
                shape.count += 1
                begin = to
            elif step.op == STATUS:
                to = put_number(to, shape.status)
            elif step.op > CLOSE:
                value = to
                to = self.put_known(value, values.of[step.op], step.limit)
                if to == value:
                    forget(shape)
                    return False
            to = put_fixed(to, step.after, step.after_size)
        shape.end, shape.end_size = begin, to - begin
        return True

    cdef char* value(
        self, char* to, Account account, Values* values, Step* step, Py_ssize_t path, Py_ssize_t query
    ) except NULL:
        """Write a value that is not a text of the request. Where there is none, `present` is false."""
        cdef int op = step.op
        if op == TIME_ISO or op == TIME_CLF or op == TIME_BEGAN:
            return self.put_time(to, op, account)
        elif op == TARGET:
            return self.put_target(to, values, path, query)
        elif op == REQUEST_LINE:
            to = self.put_known(to, values.of[METHOD], OTHER)
            to[0] = c" "
            to = put_bytes(self.put_target(to + 1, values, path, query), b" HTTP/", 6)
            return self.put_known(to, values.of[VERSION], OTHER)
        elif op == URL:
            to = put_bytes(self.put_known(to, values.of[SCHEME], OTHER), b"://", 3)
            return self.put_target(self.put_known(to, values.of[HOST], OTHER), values, path, query)
        elif op == SUMMARY:
            to = self.put_known(to, values.of[METHOD], OTHER)
            to[0] = c" "
            to = self.put_known(to + 1, values.of[RAW_PATH], path)
            if account.status:
                to[0] = c" "
                to = put_number(to + 1, account.status)
            return to
        elif op == PROTOCOL:
            return self.put_known(put_bytes(to, b"HTTP/", 5), values.of[VERSION], OTHER)
        elif op == STATUS:
            return self.put_some(to, account.status)
        elif op == DURATION:
            return self.put_span(to, account.began, account.ended or monotonic(), step)
        elif op == WAIT:
            return self.put_span(to, account.began, account.started, step)
        elif op == FIRST_BYTE:
            return self.put_span(to, account.began, account.first, step)
        elif op == BODY_BYTES:
            return put_number(to, account.body)
        elif op == BYTES_IN:
            return put_number(to, account.received)
        elif op == BYTES_OUT:
            return put_number(to, account.sent)
        elif op == HOST_NAME:
            return self.put_object(to, without_port(known(values.of[HOST])), OTHER)
        elif op == HEADER:
            return self.put_object(to, text_field(account.scope, <bytes>step.argument), OTHER)
        elif op == RESPONSE_HEADER:
            return self.put_object(to, response_field(account.headers, <bytes>step.argument), OTHER)
        elif op == ENDING:
            to[0] = c"X" if account.aborted else c"+" if account.kept else c"-"
            return to + 1
        elif op == ABORTED:
            return put_bytes(to, b"true", 4 if account.aborted else 0)
        elif op == CLIENT_PORT:
            client = account.scope.get("client")
            port = client[1] if isinstance(client, (tuple, list)) and len(client) == 2 else None
            return self.put_some(to, port if isinstance(port, int) and 0 < port < 65536 else 0)
        elif op == PHRASE:
            return self.put_object(to, (reason_phrase(account.status) or None) if account.status else None, OTHER)
        elif op == USER:
            return self.put_object(to, user_of(text_field(account.scope, b"authorization")), OTHER)
        elif op == MESSAGES_IN or op == MESSAGES_OUT:
            if account.websocket:
                return put_number(to, account.messages_in if op == MESSAGES_IN else account.messages_out)
        elif op == CLOSE_CODE:
            return self.put_some(to, account.close_code)
        self.present = False
        return to

    cdef char* put_some(self, char* to, long long number) noexcept:
        """Write a number, of which 0 is none."""
        self.present = number > 0
        return put_number(to, number) if number > 0 else to

    cdef char* put_span(self, char* to, double since, double until, Step* step) noexcept:
        cdef char* end = put_seconds(to, since, until, step.scale, step.digits)
        self.present = end != to
        return end

    cdef char* put_target(self, char* to, Values* values, Py_ssize_t path, Py_ssize_t query) except NULL:
        cdef PyObject* asked = values.of[QUERY_STRING]
        to = self.put_known(to, values.of[RAW_PATH], path)
        if asked == NULL or not <object>asked:
            return to
        to[0] = c"?"
        return self.put_known(to + 1, asked, query)

    cdef char* put_known(self, char* to, PyObject* value, Py_ssize_t limit) except NULL:
        """Write a text of the request, cut at the limit; for NULL, the sign for a missing value."""
        if value == NULL:
            self.present = False
            return to
        if type(<object>value) is bytes:
            return self.put_text(to, PyBytes_AS_STRING(<object>value), PyBytes_GET_SIZE(<object>value), limit)
        if PyUnicode_IS_COMPACT_ASCII(<object>value):
            return self.put_text(to, PyUnicode_DATA(<object>value), PyUnicode_GET_LENGTH(<object>value), limit)
        return self.put_object(to, <object>value, limit)

    cdef char* put_object(self, char* to, value, Py_ssize_t limit) except NULL:
        """Write bytes or a text, cut at the limit, or for None the sign that there is no value."""
        cdef Py_ssize_t size
        cdef const char* text
        if type(value) is bytes:
            return self.put_text(to, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), limit)
        if value is None:
            self.present = False
            return to
        if type(value) is not str:
            value = str(value)
        try:
            text = PyUnicode_AsUTF8AndSize(value, &size)
        except UnicodeEncodeError:
            value = value.encode("utf-8", "replace").decode()
            text = PyUnicode_AsUTF8AndSize(value, &size)
        return self.put_text(to, text, size, limit)

    cdef char* put_text(self, char* to, const char* data, Py_ssize_t size, Py_ssize_t limit) noexcept:
        cdef Py_ssize_t part = min(size, limit)
        cdef Py_ssize_t plain = copy_plain(to, data, part)
        return to + plain if plain == part else self.put_escaped(to, data, size, limit, plain)

    cdef char* put_escaped(
        self, char* to, const char* data, Py_ssize_t size, Py_ssize_t limit, Py_ssize_t plain
    ) noexcept:
        """Write a text whose first bytes, the plain ones, have been written, and are followed by another."""
        cdef const char* digits = PyBytes_AS_STRING(HEXADECIMAL)
        cdef Py_ssize_t escaped = 6 if self.is_json else 4
        cdef char* end = to + limit
        cdef const char* stop = data + size
        cdef unsigned char byte
        while True:
            to += plain
            data += plain
            if data == stop or end - to < escaped:
                return to
            byte = <unsigned char>data[0]
            data += 1
            if self.is_json:
                memcpy(to, b"\\u00", 4)
            else:
                memcpy(to, b"\\x", 2)
            to += escaped
            (to - 2)[0] = digits[byte >> 4]
            (to - 1)[0] = digits[byte & 15]
            plain = copy_plain(to, data, min(stop - data, end - to))

    cdef char* put_time(self, char* to, int op, Account account) except NULL:
        cdef double when = account.began if op == TIME_BEGAN else account.ended or monotonic()
        cdef double now = self.real(when)
        cdef long long second = <long long>now
        if op == TIME_CLF:
            if second != self.clf_second:
                self.clf = time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(second)).encode()
                self.clf_second = second
            return put_bytes(to, PyBytes_AS_STRING(self.clf), PyBytes_GET_SIZE(self.clf))
        if op == TIME_BEGAN:
            if second != self.plain_second:
                self.plain = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(second)).encode()
                self.plain_second = second
            return put_bytes(to, PyBytes_AS_STRING(self.plain), PyBytes_GET_SIZE(self.plain))
        if second != self.iso_second:
            self.iso = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
            self.iso_second = second
        to = put_bytes(to, PyBytes_AS_STRING(self.iso), PyBytes_GET_SIZE(self.iso))
        to = put_six(to, <unsigned int>((now - second) * 1e6))
        to[0] = c"Z"
        return to + 1

    cdef double real(self, double when) noexcept:
        """Return the real time of a reading of monotonic(), usually a recent one."""
        if not 0 <= when - self.offset_read < OFFSET_SECONDS:
            self.offset = fastserve_real()
            self.offset_read = monotonic()
            self.offset -= self.offset_read
        return when + self.offset


cdef inline bint is_constant(int op) noexcept:
    """Return whether the text of a step is the same in all lines of a shape."""
    return op <= CLOSE or op == METHOD or op == VERSION or op == SCHEME or op == STATUS


cdef inline bint is_of(Shape* shape, Values* values, int status) noexcept:
    return (
        shape.lacking == values.lacking and shape.status == status and shape.method == values.of[METHOD]
        and shape.version == values.of[VERSION] and shape.scheme == values.of[SCHEME]
    )


cdef void forget(Shape* shape) noexcept:
    PyMem_Free(shape.parts)
    Py_XDECREF(shape.method)
    Py_XDECREF(shape.version)
    Py_XDECREF(shape.scheme)
    memset(shape, 0, sizeof(Shape))


cdef void remember(Shape* shape, Values* values, int status) noexcept:
    """Let a shape be that of these values, in place of others."""
    forget(shape)
    shape.method, shape.version, shape.scheme = values.of[METHOD], values.of[VERSION], values.of[SCHEME]
    shape.lacking, shape.status = values.lacking, status
    for value in (known(shape.method), known(shape.version), known(shape.scheme)):
        if value is not None:
            Py_INCREF(value)
