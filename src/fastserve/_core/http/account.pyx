"""What is known of one exchange beyond its response: its times, its bytes, its ids.

An exchange has an account only where something asks for one: a format of the access log other than the default, the
limit of slow requests, request ids. It is opened at the end of the request's head and closed once, at the end of the
response or with the connection; a WebSocket takes that of its handshake over.
"""
import os
from binascii import a2b_base64

from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from ..llhttp cimport HTTP_GET
from ..loop.clock cimport SLOW, Timed, monotonic, stop
from ..python cimport PyBytes_AS_STRING, PyBytes_GET_SIZE, PyUnicode_DecodeASCII
from ..worker cimport Worker
from .methods cimport method_name
from .request cimport Request

cdef enum:
    LONGEST_ID = 128

cdef bytes ID_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:+/=@-"
cdef bytes id_table = bytes([byte in ID_BYTES for byte in range(256)])
cdef bytes HEXADECIMAL = b"0123456789abcdef"


cdef int seed(uint64_t* state) except -1:
    """Begin with numbers of this process and loop alone."""
    memcpy(state, PyBytes_AS_STRING(os.urandom(4 * sizeof(uint64_t))), 4 * sizeof(uint64_t))
    return 0


cdef inline uint64_t rotated(uint64_t number, int by) noexcept:
    return number << by | number >> (64 - by)


cdef unsigned long long next_random(uint64_t* state) noexcept:  # xoshiro256**, by D. Blackman and S. Vigna
    cdef uint64_t result = rotated(state[1] * 5, 7) * 9, shifted = state[1] << 17
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = rotated(state[3], 45)
    return result


cdef str made_id(uint64_t* state):
    """Return 32 hexadecimal digits."""
    cdef char text[32]
    cdef uint64_t number
    cdef int half, at
    for half in range(2):
        number = next_random(state)
        for at in range(16):
            text[16 * half + at] = PyBytes_AS_STRING(HEXADECIMAL)[number & 15]
            number >>= 4
    return PyUnicode_DecodeASCII(text, 32, NULL)


cdef bytes field_of(object headers, bytes name):
    """Return the value of the first field of this name, which is in lower case, or None.

    What an application has put there and is not a field of bytes is passed over.
    """
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    for pair in headers:
        if type(pair) is not tuple and type(pair) is not list or len(pair) != 2:
            continue
        key, value = pair[0], pair[1]
        if type(key) is not bytes or type(value) is not bytes or PyBytes_GET_SIZE(<bytes>key) != size:
            continue
        if key is name or memcmp(PyBytes_AS_STRING(<bytes>key), PyBytes_AS_STRING(name), size) == 0:
            return <bytes>value
    return None


cdef bytes text_field(dict scope, bytes name):
    """Return the value of the last field of this name, or None; never raises, whatever the application has put there."""
    try:
        return field_of(reversed(list(scope["headers"])), name)
    except Exception:
        return None


cdef str client_text(client):
    """Return the client as logs show it: `host:port`, or nothing for a UNIX socket."""
    if not client:
        return ""
    if isinstance(client, (tuple, list)) and len(client) == 2:
        return f"{client[0]}:{client[1]}"
    return f"{client}"  # what an application has put there


cdef object response_field(object headers, bytes name):
    """Return the last value of a response's header, whose name the application may have written in any way."""
    found = None
    try:
        for key, value in headers or ():
            if key is name:
                found = value
            elif (key.encode("latin-1", "replace") if isinstance(key, str) else bytes(key)).lower() == name:
                found = value if isinstance(value, str) else bytes(value)
    except (TypeError, ValueError):
        pass  # what no response can have: the application is told by who encodes it
    return found


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


cdef bytes without_port(bytes host):
    """Return the name or address of a Host header, None without one."""
    cdef Py_ssize_t colon
    if host is None:
        return None
    colon = host.rfind(b":")
    return host if colon < 0 or colon < host.rfind(b"]") else host[:colon]


cpdef dict ids_of(dict scope, request_id):
    """Return what log records have in `extra` of a request: its id and that of its trace, if it has any."""
    cdef dict ids = {} if request_id is None else {"request_id": request_id}
    trace = trace_of(text_field(scope, b"traceparent"))
    if trace is not None:
        ids["trace_id"] = trace.decode()
    return ids


cdef str id_given(object headers, bytes name):
    """Return the id in a field of a trusted proxy's request, or None without a usable one."""
    cdef bytes value = field_of(headers, name)
    cdef Py_ssize_t at
    if value is None or not 0 < PyBytes_GET_SIZE(value) <= LONGEST_ID:
        return None
    for at in range(PyBytes_GET_SIZE(value)):
        if not PyBytes_AS_STRING(id_table)[<unsigned char>PyBytes_AS_STRING(value)[at]]:
            return None
    return PyUnicode_DecodeASCII(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), NULL)


cdef Account open_account(Worker worker, dict scope, object peer, bytes address, bint trusted, double began):
    cdef Account account = Account.__new__(Account)
    cdef bytes name = worker.settings.request_id_field
    account.worker = worker
    account.scope = scope
    account.peer = peer
    account.address = address
    account.began = began
    if name is not None:
        if trusted:
            account.request_id = id_given(scope["headers"], name)
        if account.request_id is None:
            if not worker.seeded:
                seed(worker.random)
                worker.seeded = True
            account.request_id = made_id(worker.random)
        scope["state"]["request_id"] = account.request_id
    if worker.slow is not None:
        worker.clock.start(account, SLOW)
    return account


cdef class Account(Timed):
    @property
    def client(self):
        """The client as the log shows it: `host:port`, or nothing for a UNIX socket."""
        return client_text(self.scope.get("client"))

    cdef int note(self, Request request) except -1:
        cdef dict scope = self.scope
        self.items = len(scope)
        if request is not None and request.raw_path is not None:
            self.method = "GET" if request.method == HTTP_GET else method_name(request.method)
            self.version = "1.1" if request.minor else "1.0"
            self.raw_path, request.raw_path = request.raw_path, None
            self.query_string, request.query_string = request.query_string, None
            self.fields, request.headers = request.headers, None
            return 0
        self.method = scope.get("method", "GET")
        self.version = scope.get("http_version")
        self.raw_path = scope.get("raw_path")
        if self.raw_path is None:
            self.raw_path = scope.get("path")
        self.query_string = scope.get("query_string")
        self.fields = scope.get("headers")
        return 0

    cdef dict ids(self):
        return ids_of(self.scope, self.request_id)

    @property
    def over(self):
        """Whether the exchange has ended."""
        return self.ended != 0

    @property
    def seconds(self):
        """What the exchange has taken, or so far."""
        return (self.ended or monotonic()) - self.began

    @property
    def task(self):
        """That of the application, None if it has none."""
        return None if self.exchange is None else self.exchange.task

    cdef void expired(self, int kind) noexcept:
        """The limit of slow requests has passed."""
        self.slow = True
        self.tell()

    cdef void tell(self) noexcept:
        self.worker.turn.show_loop()
        try:
            self.worker.slow(self)
        except Exception as exception:
            self.worker.report("Exception in the log", exception)

    cdef int close(self, bint aborted) except -1:
        stop(self)
        self.ended = self.last or monotonic()
        self.aborted = aborted
        self.exchange = None
        if self.slow:
            self.tell()
        return 0
