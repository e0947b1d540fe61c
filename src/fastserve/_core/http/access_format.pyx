"""Formats of access lines, compiled to steps.

A format is a list of steps, each a literal or the code of a value, which is run into the buffer of the access log. In JSON
a step is a field: its key, its value and what ends it, left out where the value is empty. Which atoms and fields there are,
and by which names, is for fastserve.logging.access_format to say.

No value can end a line or leave its quotes: JSON has \\u00xx for every byte that is not printable ASCII, each byte as one
character of latin-1, other formats have \\xHH. Each value is cut, counted as written, and a line at LONGEST bytes: a text at
its end, JSON by its path and query, so that it stays valid.
"""
import time
from binascii import a2b_base64

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.tuple cimport PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from ..loop.clock cimport monotonic
from ..memory.buffer cimport Buffer
from .account cimport Account, field_of
from .response_head cimport reason_phrase

cdef enum:
    LONGEST = 4095  # bytes of a line without its end: what a pipe takes in one piece, with it
    PATH = 1024
    QUERY = 768
    REFERER_SIZE = 384
    AGENT_SIZE = 256
    ID_SIZE = 128
    OTHER = 256
    LARGEST = PATH + QUERY + 3 * OTHER  # of any value, with what is between its parts

cdef enum:
    LITERAL
    # Steps of JSON: a constant, an object in the object, and its end.
    CONSTANT
    OPEN
    CLOSE
    # What is known when the head of the response is given.
    CLIENT_HOST
    CLIENT_PORT
    USER
    TIME_CLF
    TIME_ISO
    TIME_BEGAN
    METHOD
    RAW_PATH
    PATH_DECODED
    QUERY_STRING
    TARGET
    REQUEST_LINE
    URL
    PROTOCOL
    VERSION
    SCHEME
    HOST
    HOST_NAME
    STATUS
    PHRASE
    REFERER
    USER_AGENT
    HEADER
    RESPONSE_HEADER
    REQUEST_ID
    TRACE_ID
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
    ROUTE
    MESSAGES_IN
    MESSAGES_OUT
    CLOSE_CODE
    CODES

cdef tuple NAMES = (
    "LITERAL", "CONSTANT", "OPEN", "CLOSE", "CLIENT_HOST", "CLIENT_PORT", "USER", "TIME_CLF", "TIME_ISO", "TIME_BEGAN",
    "METHOD", "RAW_PATH", "PATH_DECODED", "QUERY_STRING", "TARGET", "REQUEST_LINE", "URL", "PROTOCOL", "VERSION",
    "SCHEME", "HOST", "HOST_NAME", "STATUS", "PHRASE", "REFERER", "USER_AGENT", "HEADER", "RESPONSE_HEADER",
    "REQUEST_ID", "TRACE_ID", "SUMMARY", "WAIT", "FIRST_BYTE", "DURATION", "BODY_BYTES", "BYTES_IN", "BYTES_OUT",
    "ENDING", "ABORTED", "ROUTE", "MESSAGES_IN", "MESSAGES_OUT", "CLOSE_CODE",
)
assert len(NAMES) == CODES
CODE = {name: code for code, name in enumerate(NAMES)}

cdef bytes HEXADECIMAL = b"0123456789abcdef"
cdef bytes plain_table = bytes([0x20 <= byte < 0x7F and byte not in b'"\\' for byte in range(256)])
cdef extern from "<time.h>" nogil:
    struct timespec:
        long long tv_sec
        long tv_nsec
    int timespec_get(timespec* now, int base)
    int TIME_UTC

cdef uint64_t ONES = 0x0101010101010101
cdef long long POWERS[10]
POWERS[:] = [1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000]


cdef inline bint all_plain(const char* data) noexcept:
    """Return whether eight bytes are printable ASCII but for quotes and backslashes."""
    cdef uint64_t word, quotes, slashes, deletes
    memcpy(&word, data, 8)
    quotes = word ^ 0x22 * ONES
    slashes = word ^ 0x5C * ONES
    deletes = word ^ 0x7F * ONES
    # A byte below n becomes negative by n's subtraction, and was not before. Borrows only come from such bytes.
    return not (
        (word | word - 0x20 * ONES | quotes - ONES & ~quotes | slashes - ONES & ~slashes | deletes - ONES & ~deletes)
        & 0x80 * ONES
    )


cdef inline char* put_bytes(char* to, const char* text, Py_ssize_t size) noexcept:
    memcpy(to, text, size)
    return to + size


cdef inline char* put_number(char* to, unsigned long long number) noexcept:
    cdef char digits[20]
    cdef int first = 20
    while True:
        first -= 1
        digits[first] = <char>(c"0" + number % 10)
        number //= 10
        if number == 0:
            return put_bytes(to, digits + first, 20 - first)


cdef char* put_seconds(char* to, double since, double until, Step* step) noexcept:
    """Write a time in the step's unit and with its digits; nothing for one that did not come."""
    cdef long long number, rest
    cdef int at
    if since == 0 or until == 0:
        return to
    number = <long long>((until - since) * 1e9 + 0.5)
    number = max(number, 0) // POWERS[9 - step.scale - step.digits]
    if step.digits == 0:
        return put_number(to, number)
    rest = number % POWERS[step.digits]
    to = put_number(to, number // POWERS[step.digits])
    to[0] = c"."
    for at in range(step.digits, 0, -1):
        to[at] = <char>(c"0" + rest % 10)
        rest //= 10
    return to + step.digits + 1


cdef object text_field(Account account, bytes name):
    headers = account.scope.get("headers")
    return None if headers is None else field_of(headers, name)


cdef object response_field(object headers, bytes name):
    """Return the value of a response's header, whose name the application may have written in any way."""
    try:
        for key, value in headers or ():
            if key is name:
                return value
            if (key.encode("latin-1", "replace") if isinstance(key, str) else bytes(key)).lower() == name:
                return value if isinstance(value, str) else bytes(value)
    except (TypeError, ValueError):
        pass  # what no response can have: the application is told by who encodes it
    return None


cdef object user_of(bytes authorization):
    """Return the user of basic authentication (RFC 7617), None without one."""
    if authorization is None or authorization[:6].lower() != b"basic ":
        return None
    try:
        user, colon, _ = a2b_base64(authorization[6:].strip()).partition(b":")
    except ValueError:
        return None
    return user if colon and user else None


cdef object trace_of(bytes traceparent):
    """Return the trace id of a traceparent header (W3C Trace Context, version 00 and later), None for an invalid one."""
    cdef Py_ssize_t at
    cdef bint zero = True
    cdef char digit
    if traceparent is None or len(traceparent) < 55 or traceparent[2] != c"-" or traceparent[35] != c"-":
        return None
    if traceparent[:2] == b"ff" or traceparent[52] != c"-" or len(traceparent) > 55 and traceparent[55] != c"-":
        return None
    for at in range(3, 35):
        digit = PyBytes_AS_STRING(traceparent)[at]
        if not (c"0" <= digit <= c"9" or c"a" <= digit <= c"f"):
            return None
        zero = zero and digit == c"0"
    return None if zero else traceparent[3:35]


cdef object route_of(dict scope):
    """Return the template of the path that the framework has matched, None where it does not say."""
    route = scope.get("route")
    path = getattr(route, "path", None) if route is not None else scope.get("path_template")
    if type(path) is not str:
        return None
    root = scope.get("root_path")
    return root + path if root and route is not None else path


cdef class AccessFormat:
    """A format: `steps` are tuples (code, text before, text after, argument, scale, digits)."""

    def __init__(self, list steps not None, bint is_json):
        cdef Py_ssize_t at
        cdef Step* step
        cdef bytes before, after
        self.room = 1
        self.steps = <Step*>PyMem_Malloc(max(len(steps), 1) * sizeof(Step))
        if self.steps == NULL:
            raise MemoryError
        self.count = len(steps)
        self.kept = []
        self.is_json = is_json
        self.iso_second = self.clf_second = self.plain_second = -1
        for at in range(self.count):
            code, before, after, argument, scale, digits = steps[at]
            self.kept.append((before, after, argument))
            step = &self.steps[at]
            step.op = code
            step.before, step.before_size = PyBytes_AS_STRING(before), PyBytes_GET_SIZE(before)
            step.after, step.after_size = PyBytes_AS_STRING(after), PyBytes_GET_SIZE(after)
            step.argument = <void*>argument
            step.scale, step.digits = scale, digits
            self.room += step.before_size + step.after_size + 1 + (LARGEST if step.op > CLOSE else 0)
            if step.op >= DURATION:
                self.late = True
            if step.op == RESPONSE_HEADER:
                self.wants_headers = True

    def __dealloc__(self):
        PyMem_Free(self.steps)

    cdef int put(self, Buffer out, Account account) except -1:
        cdef Py_ssize_t path = PATH, query = QUERY, size
        cdef char* begin = out.reserve(self.room)
        self.find_fields(account)
        while True:
            size = self.run(begin, account, path, query) - begin
            if size <= LONGEST:
                break
            if not self.is_json or path == 0:
                size = LONGEST
                break
            path //= 2
            query //= 2
        begin[size] = c"\n"
        out.size += size + 1
        return 0

    cdef int find_fields(self, Account account) except -1:
        """Find the fields of the request that most formats have, in one pass."""
        cdef const char* name
        cdef Py_ssize_t size
        self.host = self.agent = self.referer = self.trace = None
        headers = account.scope.get("headers")
        if type(headers) is not list:
            return 0
        for pair in <list>headers:
            if type(pair) is not tuple or PyTuple_GET_SIZE(pair) != 2:
                continue
            key, value = (<tuple>pair)[0], (<tuple>pair)[1]
            if type(key) is not bytes or type(value) is not bytes:
                continue
            name, size = PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)
            if size == 4 and self.host is None and memcmp(name, b"host", 4) == 0:
                self.host = <bytes>value
            elif size == 7 and self.referer is None and memcmp(name, b"referer", 7) == 0:
                self.referer = <bytes>value
            elif size == 10 and self.agent is None and memcmp(name, b"user-agent", 10) == 0:
                self.agent = <bytes>value
            elif size == 11 and self.trace is None and memcmp(name, b"traceparent", 11) == 0:
                self.trace = <bytes>value
        return 0

    cdef bint lacks(self, Account account, int op) noexcept:
        """Return whether a value is missing that often is."""
        if op == REFERER:
            return self.referer is None
        if op == USER_AGENT:
            return self.agent is None
        if op == TRACE_ID:
            return self.trace is None
        if op == REQUEST_ID:
            return account.request_id is None
        if op == ABORTED:
            return not account.aborted
        return op >= MESSAGES_IN and not account.websocket

    cdef char* run(self, char* to, Account account, Py_ssize_t path, Py_ssize_t query) except NULL:
        """Write a line without its end to where there is room for it, and return what follows it."""
        cdef Py_ssize_t at
        cdef Step* step
        cdef char* mark
        cdef char* begin
        for at in range(self.count):
            step = &self.steps[at]
            if step.op == LITERAL:
                to = put_bytes(to, step.before, step.before_size)
                continue
            mark = to
            if self.is_json:
                if self.lacks(account, step.op):
                    continue
                if step.op != CLOSE and (to - 1)[0] != c"{":
                    to[0] = c","
                    to += 1
            begin = to = put_bytes(to, step.before, step.before_size)
            if step.op <= CLOSE:
                continue
            self.present = True
            to = self.value(to, account, step, path, query)
            if not self.is_json:
                if to == begin and not self.present:
                    to[0] = c"-"
                    to += 1
            elif to == begin:
                to = mark
            else:
                to = put_bytes(to, step.after, step.after_size)
        return to

    cdef char* value(self, char* to, Account account, Step* step, Py_ssize_t path, Py_ssize_t query) except NULL:
        """Write a value. Where there is none, `present` is false."""
        cdef dict scope = account.scope
        cdef int op = step.op
        if op == CLIENT_HOST:
            client = scope.get("client")
            return self.put_object(to, (<tuple>client)[0] if type(client) is tuple else client and client[0], OTHER)
        elif op == TIME_ISO or op == TIME_CLF or op == TIME_BEGAN:
            return self.put_time(to, op, account)
        elif op == METHOD:
            return self.put_object(to, scope.get("method", "GET"), OTHER)
        elif op == RAW_PATH:
            return self.put_path(to, scope, path)
        elif op == PATH_DECODED:
            return self.put_object(to, scope.get("path"), path)
        elif op == QUERY_STRING:
            return self.put_object(to, scope.get("query_string"), query)
        elif op == TARGET:
            return self.put_target(to, scope, path, query)
        elif op == REQUEST_LINE:
            to = self.put_object(to, scope.get("method", "GET"), OTHER)
            to[0] = c" "
            to = put_bytes(self.put_target(to + 1, scope, path, query), b" HTTP/", 6)
            return self.put_object(to, scope.get("http_version"), OTHER)
        elif op == URL:
            to = put_bytes(self.put_object(to, scope.get("scheme"), OTHER), b"://", 3)
            return self.put_target(self.put_object(to, self.host, OTHER), scope, path, query)
        elif op == SUMMARY:
            to = self.put_object(to, scope.get("method", "GET"), OTHER)
            to[0] = c" "
            to = self.put_path(to + 1, scope, path)
            if account.status:
                to[0] = c" "
                to = put_number(to + 1, account.status)
            return to
        elif op == PROTOCOL:
            return self.put_object(put_bytes(to, b"HTTP/", 5), scope.get("http_version"), OTHER)
        elif op == VERSION:
            return self.put_object(to, scope.get("http_version"), OTHER)
        elif op == SCHEME:
            return self.put_object(to, scope.get("scheme"), OTHER)
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
        elif op == USER_AGENT:
            return self.put_object(to, self.agent, AGENT_SIZE)
        elif op == REFERER:
            return self.put_object(to, self.referer, REFERER_SIZE)
        elif op == HOST:
            return self.put_object(to, self.host, OTHER)
        elif op == HOST_NAME:
            return self.put_object(to, None if self.host is None else without_port(self.host), OTHER)
        elif op == HEADER:
            return self.put_object(to, text_field(account, <bytes>step.argument), OTHER)
        elif op == RESPONSE_HEADER:
            return self.put_object(to, response_field(account.headers, <bytes>step.argument), OTHER)
        elif op == REQUEST_ID:
            return self.put_object(to, account.request_id, ID_SIZE)
        elif op == TRACE_ID:
            return self.put_object(to, trace_of(self.trace), ID_SIZE)
        elif op == ENDING:
            to[0] = c"X" if account.aborted else c"+" if account.kept else c"-"
            return to + 1
        elif op == ABORTED:
            return put_bytes(to, b"true", 4 if account.aborted else 0)
        elif op == ROUTE:
            return self.put_object(to, route_of(scope), OTHER)
        elif op == CLIENT_PORT:
            client = scope.get("client")
            return self.put_some(to, client[1] if client else 0)
        elif op == PHRASE:
            return self.put_object(to, (reason_phrase(account.status) or None) if account.status else None, OTHER)
        elif op == USER:
            return self.put_object(to, user_of(text_field(account, b"authorization")), OTHER)
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
        cdef char* end = put_seconds(to, since, until, step)
        self.present = end != to
        return end

    cdef char* put_path(self, char* to, dict scope, Py_ssize_t limit) except NULL:
        raw = scope.get("raw_path")
        return self.put_object(to, scope.get("path") if raw is None else raw, limit)

    cdef char* put_target(self, char* to, dict scope, Py_ssize_t path, Py_ssize_t query) except NULL:
        to = self.put_path(to, scope, path)
        asked = scope.get("query_string")
        if not asked:
            return to
        to[0] = c"?"
        return self.put_object(to + 1, asked, query)

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
        cdef const char* safe = PyBytes_AS_STRING(plain_table)
        cdef const char* digits = PyBytes_AS_STRING(HEXADECIMAL)
        cdef Py_ssize_t escaped = 6 if self.is_json else 4
        cdef char* end = to + limit
        cdef const char* stop = data + size
        cdef unsigned char byte
        while True:
            while stop - data >= 8 and end - to >= 8 and all_plain(data):
                memcpy(to, data, 8)
                to += 8
                data += 8
            if data == stop:
                return to
            byte = <unsigned char>data[0]
            data += 1
            if safe[byte]:
                if to == end:
                    return to
                to[0] = <char>byte
                to += 1
                continue
            if end - to < escaped:
                return to
            if self.is_json:
                memcpy(to, b"\\u00", 4)
            else:
                memcpy(to, b"\\x", 2)
            to += escaped
            (to - 2)[0] = digits[byte >> 4]
            (to - 1)[0] = digits[byte & 15]

    cdef char* put_time(self, char* to, int op, Account account) except NULL:
        cdef timespec now
        cdef long long second, rest
        cdef int at
        timespec_get(&now, TIME_UTC)
        second = now.tv_sec
        if op == TIME_BEGAN:
            second = <long long>(second + now.tv_nsec / 1e9 - ((account.ended or monotonic()) - account.began))
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
            self.iso = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
            self.iso_second = second
        to = put_bytes(to, PyBytes_AS_STRING(self.iso), PyBytes_GET_SIZE(self.iso))
        rest = now.tv_nsec // 1000
        to[0] = c"."
        for at in range(6, 0, -1):
            to[at] = <char>(c"0" + rest % 10)
            rest //= 10
        to[7] = c"Z"
        return to + 8


cdef bytes without_port(bytes host):
    """Return the name or address of a Host header."""
    cdef Py_ssize_t colon = host.rfind(b":")
    return host if colon < 0 or colon < host.rfind(b"]") else host[:colon]
