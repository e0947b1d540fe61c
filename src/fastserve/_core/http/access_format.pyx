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
from os import getpid

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.string cimport memcpy

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
    PID
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
    "REQUEST_ID", "TRACE_ID", "PID", "SUMMARY", "WAIT", "FIRST_BYTE", "DURATION", "BODY_BYTES", "BYTES_IN", "BYTES_OUT",
    "ENDING", "ABORTED", "ROUTE", "MESSAGES_IN", "MESSAGES_OUT", "CLOSE_CODE",
)
assert len(NAMES) == CODES
CODE = {name: code for code, name in enumerate(NAMES)}

cdef bytes HEXADECIMAL = b"0123456789abcdef"
cdef bytes plain_table = bytes(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in range(256))
cdef object now_of = time.time
cdef long long POWERS[10]
POWERS[:] = [1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000]


cdef int put_fixed(Buffer out, long long number, int digits) except -1:
    """Append a number of which the last `digits` are after the point."""
    cdef long long whole = number // POWERS[digits], rest = number % POWERS[digits]
    cdef char text[10]
    cdef int at
    out.append_decimal(whole)
    if digits:
        text[0] = c"."
        for at in range(digits, 0, -1):
            text[at] = <char>(c"0" + rest % 10)
            rest //= 10
        out.append(text, digits + 1)
    return 0


cdef bint put_seconds(Buffer out, double since, double until, int scale, int digits) except -1:
    cdef long long nanoseconds
    if since == 0 or until == 0:
        return False
    nanoseconds = <long long>((until - since) * 1e9 + 0.5)
    put_fixed(out, max(nanoseconds, 0) // POWERS[9 - scale - digits], digits)
    return True


cdef bint put_count(Buffer out, long long number) except -1:
    out.append_decimal(number)
    return True


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
            if step.op >= DURATION:
                self.late = True
            if step.op == RESPONSE_HEADER:
                self.wants_headers = True

    def __dealloc__(self):
        PyMem_Free(self.steps)

    cdef int put(self, Buffer out, Account account) except -1:
        cdef Py_ssize_t start = out.size, path = PATH, query = QUERY
        self.run(out, account, path, query)
        while out.size - start > LONGEST:
            if not self.is_json or path == 0:
                out.size = start + LONGEST
                break
            out.size = start
            path //= 2
            query //= 2
            self.run(out, account, path, query)
        return out.append(b"\n", 1)

    cdef int run(self, Buffer out, Account account, Py_ssize_t path, Py_ssize_t query) except -1:
        cdef Py_ssize_t at, mark, begin
        cdef Step* step
        cdef bint present
        for at in range(self.count):
            step = &self.steps[at]
            if step.op == LITERAL:
                out.append(step.before, step.before_size)
                continue
            mark = out.size
            if self.is_json and step.op != CLOSE and out.data[mark - 1] != c"{":
                out.append(b",", 1)
            out.append(step.before, step.before_size)
            if step.op <= CLOSE:
                continue
            begin = out.size
            present = self.value(out, account, step, path, query)
            if self.is_json:
                if out.size == begin:
                    out.size = mark
                else:
                    out.append(step.after, step.after_size)
            elif not present:
                out.append(b"-", 1)
        return 0

    cdef bint value(self, Buffer out, Account account, Step* step, Py_ssize_t path, Py_ssize_t query) except -1:
        """Append a value. Return whether there is one, which may be empty."""
        cdef dict scope = account.scope
        cdef int op = step.op
        if op == CLIENT_HOST:
            client = scope.get("client")
            return self.put_object(out, client[0] if client else None, OTHER)
        if op == TIME_ISO or op == TIME_CLF or op == TIME_BEGAN:
            self.put_time(out, op, account)
            return True
        if op == METHOD:
            return self.put_object(out, scope.get("method", "GET"), OTHER)
        if op == RAW_PATH:
            raw = scope.get("raw_path")
            return self.put_object(out, scope.get("path") if raw is None else raw, path)
        if op == PATH_DECODED:
            return self.put_object(out, scope.get("path"), path)
        if op == QUERY_STRING:
            return self.put_object(out, scope.get("query_string"), query)
        if op == TARGET:
            self.put_target(out, account, path, query)
            return True
        if op == REQUEST_LINE:
            self.put_object(out, scope.get("method", "GET"), OTHER)
            out.append(b" ", 1)
            self.put_target(out, account, path, query)
            out.append(b" HTTP/", 6)
            return self.put_object(out, scope.get("http_version"), OTHER)
        if op == URL:
            self.put_object(out, scope.get("scheme"), OTHER)
            out.append(b"://", 3)
            self.put_object(out, text_field(account, b"host"), OTHER)
            self.put_target(out, account, path, query)
            return True
        if op == SUMMARY:
            self.put_object(out, scope.get("method", "GET"), OTHER)
            out.append(b" ", 1)
            raw = scope.get("raw_path")
            self.put_object(out, scope.get("path") if raw is None else raw, path)
            if account.status:
                out.append(b" ", 1)
                out.append_decimal(account.status)
            return True
        if op == PROTOCOL:
            out.append(b"HTTP/", 5)
            return self.put_object(out, scope.get("http_version"), OTHER)
        if op == VERSION:
            return self.put_object(out, scope.get("http_version"), OTHER)
        if op == SCHEME:
            return self.put_object(out, scope.get("scheme"), OTHER)
        if op == STATUS:
            return account.status > 0 and put_count(out, account.status)
        if op == DURATION:
            return put_seconds(out, account.began, account.ended or monotonic(), step.scale, step.digits)
        if op == WAIT:
            return put_seconds(out, account.began, account.started, step.scale, step.digits)
        if op == FIRST_BYTE:
            return put_seconds(out, account.began, account.first, step.scale, step.digits)
        if op == BODY_BYTES:
            return put_count(out, account.body)
        if op == BYTES_IN:
            return put_count(out, account.received)
        if op == BYTES_OUT:
            return put_count(out, account.sent)
        if op == USER_AGENT:
            return self.put_object(out, text_field(account, b"user-agent"), AGENT_SIZE)
        if op == REFERER:
            return self.put_object(out, text_field(account, b"referer"), REFERER_SIZE)
        if op == HOST:
            return self.put_object(out, text_field(account, b"host"), OTHER)
        if op == HEADER:
            return self.put_object(out, text_field(account, <bytes>step.argument), OTHER)
        if op == REQUEST_ID:
            return self.put_object(out, account.request_id, ID_SIZE)
        if op == TRACE_ID:
            return self.put_object(out, trace_of(text_field(account, b"traceparent")), ID_SIZE)
        if op == ENDING:
            out.append(b"X" if account.aborted else b"+" if account.kept else b"-", 1)
            return True
        if op == ABORTED:
            if account.aborted:
                out.append(b"true", 4)
            return True
        if op == ROUTE:
            return self.put_object(out, route_of(scope), OTHER)
        if op == PID:
            return put_count(out, getpid())
        if op == CLIENT_PORT:
            client = scope.get("client")
            return client is not None and put_count(out, client[1])
        if op == PHRASE:
            return account.status > 0 and self.put_object(out, reason_phrase(account.status), OTHER)
        if op == RESPONSE_HEADER:
            return self.put_object(out, response_field(account.headers, <bytes>step.argument), OTHER)
        if op == HOST_NAME:
            host = text_field(account, b"host")
            return self.put_object(out, None if host is None else without_port(host), OTHER)
        if op == USER:
            return self.put_object(out, user_of(text_field(account, b"authorization")), OTHER)
        if op == MESSAGES_IN:
            return account.websocket and put_count(out, account.messages_in)
        if op == MESSAGES_OUT:
            return account.websocket and put_count(out, account.messages_out)
        return account.close_code > 0 and put_count(out, account.close_code)

    cdef int put_target(self, Buffer out, Account account, Py_ssize_t path, Py_ssize_t query) except -1:
        cdef dict scope = account.scope
        raw = scope.get("raw_path")
        self.put_object(out, scope.get("path") if raw is None else raw, path)
        asked = scope.get("query_string")
        if asked:
            out.append(b"?", 1)
            self.put_object(out, asked, query)
        return 0

    cdef bint put_object(self, Buffer out, value, Py_ssize_t limit) except -1:
        """Append bytes or a text, cut at the limit. Return false for None."""
        cdef Py_ssize_t size
        cdef const char* text
        if value is None:
            return False
        if type(value) is bytes:
            self.put_text(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), limit)
            return True
        if type(value) is not str:
            value = str(value)
        try:
            text = PyUnicode_AsUTF8AndSize(value, &size)
        except UnicodeEncodeError:
            value = value.encode("utf-8", "replace").decode()
            text = PyUnicode_AsUTF8AndSize(value, &size)
        self.put_text(out, text, size, limit)
        return True

    cdef int put_text(self, Buffer out, const char* data, Py_ssize_t size, Py_ssize_t limit) except -1:
        cdef const char* safe = PyBytes_AS_STRING(plain_table)
        cdef const char* digits = PyBytes_AS_STRING(HEXADECIMAL)
        cdef Py_ssize_t escaped = 6 if self.is_json else 4
        cdef char* begin = out.reserve(min(size * escaped, limit))
        cdef char* to = begin
        cdef char* end = begin + limit
        cdef Py_ssize_t at = 0
        cdef unsigned char byte
        while at < size:
            byte = <unsigned char>data[at]
            at += 1
            if safe[byte]:
                if to == end:
                    break
                to[0] = <char>byte
                to += 1
                continue
            if end - to < escaped:
                break
            if self.is_json:
                memcpy(to, b"\\u00", 4)
            else:
                memcpy(to, b"\\x", 2)
            to += escaped
            (to - 2)[0] = digits[byte >> 4]
            (to - 1)[0] = digits[byte & 15]
        out.size += to - begin
        return 0

    cdef int put_time(self, Buffer out, int op, Account account) except -1:
        cdef double now = now_of()
        cdef long long second, rest
        cdef char text[8]
        cdef int at
        if op == TIME_BEGAN:
            now -= (account.ended or monotonic()) - account.began
        second = <long long>now
        if op == TIME_CLF:
            if second != self.clf_second:
                self.clf = time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(second)).encode()
                self.clf_second = second
            return out.append_bytes(self.clf)
        if op == TIME_BEGAN:
            if second != self.plain_second:
                self.plain = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(second)).encode()
                self.plain_second = second
            return out.append_bytes(self.plain)
        if second != self.iso_second:
            self.iso = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
            self.iso_second = second
        out.append_bytes(self.iso)
        rest = <long long>((now - second) * 1000000)
        text[0] = c"."
        for at in range(6, 0, -1):
            text[at] = <char>(c"0" + rest % 10)
            rest //= 10
        text[7] = c"Z"
        return out.append(text, 8)


cdef bytes without_port(bytes host):
    """Return the name or address of a Host header."""
    cdef Py_ssize_t colon = host.rfind(b":")
    return host if colon < 0 or colon < host.rfind(b"]") else host[:colon]
