"""The head of a request, and the rules of RFC 9110 and RFC 9112 for it that llhttp leaves open."""
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

from ..llhttp cimport HTTP_CONNECT, HTTP_OPTIONS
from ..memory.pool cimport Pool, make_pool
from ..python cimport PyObject
from ..settings cimport Settings
from ..threads cimport FASTSERVE_FREE_THREADED
from .field_names cimport CONNECTION, EXPECT, HOST, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, lookup
from .rules cimport equals, has_member, has_other_member, transfer_coding, valid_host

cdef extern from "memory/pool.h":
    PyObject* fastserve_pool

cdef enum:
    SPARE = 16
    FIELDS = 128  # that a request has room for before it grows

make_pool(&fastserve_pool, SPARE)


cdef Request take_request():
    """Return an empty request, to be given back."""
    cdef Request request
    if FASTSERVE_FREE_THREADED and fastserve_pool == NULL:
        make_pool(&fastserve_pool, SPARE)
    request = <Request>(<Pool>fastserve_pool).take()
    if request is None:
        request = Request()
    request.count = 0
    request.target.size = 0
    request.upgrade = False
    return request


cdef void give_request(Request request) noexcept:
    if FASTSERVE_FREE_THREADED and fastserve_pool == NULL:
        return  # this thread has taken none
    if request.capacity == FIELDS:  # one that has grown is not kept
        (<Pool>fastserve_pool).give(request)


cdef class Request:
    def __cinit__(self):
        self.fields = <Field*>malloc(FIELDS * sizeof(Field))
        if self.fields == NULL:
            raise MemoryError
        self.capacity = FIELDS

    def __dealloc__(self):
        free(self.fields)

    cdef Field* add_field(self) noexcept:
        """Return a new, empty field, or NULL without memory. Earlier fields may move."""
        cdef Field* fields
        if self.count == self.capacity:
            fields = <Field*>realloc(self.fields, 2 * self.capacity * sizeof(Field))
            if fields == NULL:
                return NULL
            self.fields = fields
            self.capacity *= 2
        fields = &self.fields[self.count]
        memset(fields, 0, sizeof(Field))
        self.count += 1
        return fields

    cdef bint has_body(self) noexcept:
        return self.chunked or self.content_length > 0

    cdef int check(self, Settings settings) noexcept:
        """Check the complete head. Return nonzero for a fault, described by `status` and `reason`."""
        if self.check_request_line() or self.check_target() or self.check_fields():
            return 1
        if settings.limit_request_body and self.content_length > <uint64_t>settings.limit_request_body:
            return self.fault(413, b"request body over the limit")
        return 0

    cdef int check_request_line(self) noexcept:
        """Check that exactly one space is on either side of the target (RFC 9112 section 3)."""
        cdef Py_ssize_t at = 0, size = strlen(self.method_name)
        if self.method == HTTP_CONNECT:
            return self.fault(501, b"CONNECT is not served")
        while self.head[at] == c"\r" and self.head[at + 1] == c"\n":  # RFC 9112 section 2.2
            at += 2
        if self.target.start != at + size + 1:
            return self.fault(400, b"malformed request line")
        at = self.target.start + self.target.size
        if self.head[at] != c" " or self.head[at + 1] != c"H":
            return self.fault(400, b"malformed request line")
        return 0

    cdef int check_target(self) noexcept:
        """Check the target's form (RFC 9112 section 3.2); all are in visible ASCII."""
        cdef const char* target = self.head + self.target.start
        cdef Py_ssize_t size = self.target.size, at
        self.authority.size = 0
        self.is_https = False
        for at in range(size):
            if not c"!" <= target[at] <= c"~" or target[at] == c"#":
                return self.fault(400, b"invalid character in the request target")
        if target[0] == c"/":
            self.find_query(self.target.start)
            return 0
        if size == 1 and target[0] == c"*":
            if self.method != HTTP_OPTIONS:
                return self.fault(400, b"asterisk-form without OPTIONS")
            self.path = self.target
            self.query.size = 0
            self.escaped = False
            return 0
        at = 7 if size > 7 and equals_scheme(target, b"http", 4) else 0
        if at == 0 and size > 8 and equals_scheme(target, b"https", 5):
            at = 8
            self.is_https = True
        if at == 0:
            return self.fault(400, b"malformed request target")
        self.authority.start = self.target.start + at
        while at < size and target[at] not in (c"/", c"?"):
            at += 1
        self.authority.size = self.target.start + at - self.authority.start
        if not valid_host(self.head + self.authority.start, self.authority.size):
            return self.fault(400, b"malformed authority in the request target")
        self.find_query(self.target.start + at)
        return 0

    cdef void find_query(self, Py_ssize_t start) noexcept:
        cdef Py_ssize_t end = self.target.start + self.target.size, at = start
        self.escaped = False
        self.path.start = start
        while at < end and self.head[at] != c"?":
            if self.head[at] == c"%":
                self.escaped = True
            at += 1
        self.path.size = at - start
        self.query.start = at + 1
        self.query.size = end - at - 1 if at < end else 0

    cdef int check_fields(self) noexcept:
        """Check the fields that decide about framing, Host and Expect."""
        cdef Py_ssize_t index
        cdef Field* field
        cdef Field* host = NULL
        cdef const char* value
        cdef int hosts = 0, codings = 0, coding = 0
        cdef bint misled = False
        self.expect_continue = self.te_trailers = False
        for index in range(self.count):
            field = &self.fields[index]
            # llhttp includes the white space after a value in its span (RFC 9112 section 5.1).
            while field.value.size and self.head[field.value.start + field.value.size - 1] in (c" ", c"\t"):
                field.value.size -= 1
            field.known = lookup(self.head + field.name.start, field.name.size)
            if field.known == HOST:
                host = field
                hosts += 1
            elif field.known == TRANSFER_ENCODING:
                codings += 1
                coding = transfer_coding(self.head + field.value.start, field.value.size)
            elif field.known == EXPECT and self.minor == 1:
                value = self.head + field.value.start
                if has_other_member(value, field.value.size, b"100-continue", 12):
                    return self.fault(417, b"unknown expectation")
                self.expect_continue |= has_member(value, field.value.size, b"100-continue", 12)
            elif field.known == TE and self.minor == 1:
                self.te_trailers |= has_member(self.head + field.value.start, field.value.size, b"trailers", 8)
            elif field.known == PROXY_CONNECTION:
                misled = True
            elif field.known == CONNECTION and memchr(self.head + field.value.start, c",", field.value.size) != NULL:
                misled = True
        if misled:
            self.read_connection()
        if codings:
            if self.minor == 0 or codings > 1:
                return self.fault(400, b"unreliable Transfer-Encoding")
            if coding:
                return self.fault(coding, b"transfer coding other than chunked")
            if not self.chunked:
                # llhttp decides about the framing, and differs here.
                return self.fault(400, b"unreliable Transfer-Encoding")
        return self.check_host(host, hosts)

    cdef void read_connection(self) noexcept:
        """Go by Connection alone: llhttp treats Proxy-Connection as the same (RFC 9112 appendix C.2.2), and fails on
        empty elements."""
        cdef Py_ssize_t index
        cdef Field* field
        cdef const char* value
        cdef bint close = False, keep_alive = False, upgrade = False, offers = False
        for index in range(self.count):
            field = &self.fields[index]
            if field.known == CONNECTION:
                value = self.head + field.value.start
                close |= has_member(value, field.value.size, b"close", 5)
                keep_alive |= has_member(value, field.value.size, b"keep-alive", 10)
                upgrade |= has_member(value, field.value.size, b"upgrade", 7)
            elif field.known == UPGRADE:
                offers = True
        self.keep_alive = not close and (self.minor == 1 or keep_alive)
        self.upgrade = upgrade and offers

    cdef int check_host(self, Field* host, int hosts) noexcept:
        """Check for one valid Host (RFC 9112 section 3.2), also if the target has an authority, which then has priority."""
        cdef const char* text
        if hosts > 1:
            return self.fault(400, b"more than one Host header")
        if hosts == 0:
            return self.fault(400, b"missing Host header") if self.minor == 1 else 0
        text = self.head + host.value.start
        if host.value.size and host.value.size == self.host_size and memcmp(text, self.host, self.host_size) == 0:
            return 0
        if not valid_host(text, host.value.size):
            return self.fault(400, b"malformed Host header")
        if host.value.size <= HOST_KEPT:
            memcpy(self.host, text, host.value.size)
            self.host_size = host.value.size
            self.host_decoded = None
        return 0

    cdef str host_text(self, Field* host):
        cdef const char* text = self.head + host.value.start
        if host.value.size > HOST_KEPT:
            return text[:host.value.size].decode("latin-1")
        if self.host_decoded is None:
            self.host_decoded = text[:host.value.size].decode("latin-1")
        return self.host_decoded

    cdef int fault(self, int status, const char* reason) noexcept:
        self.status = status
        self.reason = reason
        return 1


cdef inline bint equals_scheme(const char* target, const char* scheme, Py_ssize_t size) noexcept:
    return equals(target, size, scheme, size) and memcmp(target + size, b"://", 3) == 0
