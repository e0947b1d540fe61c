# setup.py: hot
"""The fields of requests: what each is to the server, and which are malformed (RFC 9113 sections 8.1 to 8.3).

A field's own faults are found by classify(), once for each entry of a table; what only its place shows (a pseudo-header
after other fields, or twice) by add(), and what only the whole shows by finish().
"""
from libc.string cimport memcmp

from ..grammar import REFUSED_TRAILERS
from ..http.field_names cimport LOWER, UNKNOWN, known, lookup
from ..http.response_head cimport has_control
from ..http.rules cimport equals, has_member, has_other_member, is_token, valid_host
from ..python cimport (
    PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE, PyList_New, PyList_SET_ITEM, PyMem_Free,
    PyMem_Realloc, PyObject, Py_DECREF, Py_INCREF, Py_XDECREF,
)

cdef extern from "Python.h":
    PyObject* PyTuple_GET_ITEM(object items, Py_ssize_t index) noexcept  # borrowed

cdef enum:
    NO_LIMIT = 0x7FFFFFFF
    FIRST_CAPACITY = 16
    KEPT_CAPACITY = 64  # more is freed after the request
    PRIORITY_ROOM = 256  # bytes of Priority fields together; further ones say nothing

cdef frozenset refused_trailers = REFUSED_TRAILERS
cdef bytes host_name = known(lookup(b"host", 4))
cdef bytes cookie_name = known(lookup(b"cookie", 6))
cdef bytes connect = b"CONNECT"

cdef unsigned char kinds[256]  # of the known names
cdef const char* reasons[KINDS]
reasons[MALFORMED_NAME] = b"malformed field name"
reasons[MALFORMED_VALUE] = b"malformed field value"
reasons[UNKNOWN_PSEUDO] = b"unknown pseudo-header"
reasons[CONNECTION_SPECIFIC] = b"connection-specific field"
reasons[MALFORMED_TE] = b"TE other than trailers"
reasons[MALFORMED_LENGTH] = b"malformed Content-Length"

cdef dict KINDS_BY_NAME = {
    b"host": HOST_FIELD,
    b"content-length": CONTENT_LENGTH_FIELD,
    b"te": TE_FIELD,
    b"expect": EXPECT_FIELD,
    b"cookie": COOKIE,
    b"priority": PRIORITY_FIELD,
    b"connection": CONNECTION_SPECIFIC,
    b"keep-alive": CONNECTION_SPECIFIC,
    b"proxy-connection": CONNECTION_SPECIFIC,
    b"transfer-encoding": CONNECTION_SPECIFIC,
    b"upgrade": CONNECTION_SPECIFIC,
}


cdef int fill() except -1:
    cdef bytes name
    for name, kind in KINDS_BY_NAME.items():
        kinds[lookup(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))] = kind
    return 0


fill()


cdef inline bytes part(tuple field, Py_ssize_t index):
    return <bytes>PyTuple_GET_ITEM(field, index)


cdef bint is_name(const char* name, Py_ssize_t size) noexcept:
    """Return whether this is a token without upper case (section 8.2.1)."""
    cdef Py_ssize_t at
    for at in range(size):
        if <unsigned char>name[at] == 0 or LOWER[<unsigned char>name[at]] != <unsigned char>name[at]:
            return False
    return size > 0


cdef int kind_of_pseudo(const char* name, Py_ssize_t size) noexcept:
    if size == 7 and memcmp(name, b":method", 7) == 0:
        return PSEUDO_METHOD
    if size == 7 and memcmp(name, b":scheme", 7) == 0:
        return PSEUDO_SCHEME
    if size == 10 and memcmp(name, b":authority", 10) == 0:
        return PSEUDO_AUTHORITY
    if size == 5 and memcmp(name, b":path", 5) == 0:
        return PSEUDO_PATH
    if size == 9 and memcmp(name, b":protocol", 9) == 0:
        return PSEUDO_PROTOCOL
    return UNKNOWN_PSEUDO


cdef int kind_of_name(const char* name, Py_ssize_t size) noexcept:
    """Return what a name alone decides."""
    cdef int index = lookup(name, size)
    if index == UNKNOWN:
        return kind_of_other(name, size)
    # One that is known in lower case alone has a letter in upper case.
    return kinds[index] if memcmp(name, PyBytes_AS_STRING(known(index)), size) == 0 else MALFORMED_NAME


cdef int kind_of_other(const char* name, Py_ssize_t size) noexcept:
    if size and name[0] == c":":
        return kind_of_pseudo(name, size)
    return PLAIN if is_name(name, size) else MALFORMED_NAME


cdef bytes field_name(const char* name, Py_ssize_t size, int* kind):
    """Return the name, of which `kind` tells the kind; a frequent one is the ready object."""
    cdef int index = lookup(name, size)
    if index != UNKNOWN and memcmp(name, PyBytes_AS_STRING(known(index)), size) == 0:
        kind[0] = kinds[index]
        return known(index)
    kind[0] = kind_of_other(name, size) if index == UNKNOWN else MALFORMED_NAME
    return PyBytes_FromStringAndSize(name, size)


cdef inline bint is_space(char byte) noexcept:
    return byte == c" " or byte == c"\t"


cdef bint is_scheme(const char* value, Py_ssize_t size) noexcept:
    """Return whether this is a scheme (RFC 3986 section 3.1)."""
    cdef Py_ssize_t at
    for at in range(size):
        if not (c"a" <= (value[at] | 0x20) <= c"z" or at and (c"0" <= value[at] <= c"9" or value[at] in (c"+", c"-", c"."))):
            return False
    return size > 0


cdef bint is_target(const char* value, Py_ssize_t size) noexcept:
    """Return whether all of it may be in a request target, as in HTTP/1.1."""
    cdef Py_ssize_t at
    cdef bint wrong = False
    for at in range(size):
        wrong |= value[at] < c"!" or value[at] > c"~" or value[at] == c"#"
    return size > 0 and not wrong


cdef int kind_of_field(int kind, const char* value, Py_ssize_t size) noexcept:
    cdef Py_ssize_t at
    if kind >= MALFORMED:
        return kind
    if kind == PSEUDO_PATH:
        return kind if is_target(value, size) else MALFORMED_VALUE
    if size and (is_space(value[0]) or is_space(value[size - 1])) or has_control(value, size):
        return MALFORMED_VALUE
    if kind == PSEUDO_METHOD or kind == PSEUDO_PROTOCOL:
        return kind if is_token(value, size) else MALFORMED_VALUE
    if kind == PSEUDO_SCHEME:
        return kind if is_scheme(value, size) else MALFORMED_VALUE
    if kind == TE_FIELD:
        return kind if equals(value, size, b"trailers", 8) else MALFORMED_TE
    if kind == CONTENT_LENGTH_FIELD:
        if not 0 < size < 19:
            return MALFORMED_LENGTH
        for at in range(size):
            if not c"0" <= value[at] <= c"9":
                return MALFORMED_LENGTH
    return kind


cdef int classify(bytes name, bytes value) noexcept:
    """Return the kind of a field."""
    cdef int kind = kind_of_name(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    return kind_of_field(kind, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))


cdef bytes normal_host(bytes host, bytes scheme):
    """Return a host as it is compared (RFC 3986 section 6.2): in lower case, without the port that its scheme has."""
    cdef bytes port = b":443" if scheme is not None and scheme.lower() == b"https" else b":80"
    return host.lower().removesuffix(port).removesuffix(b":")


cdef class FieldSink:
    cdef int add(self, tuple field, int kind, Py_ssize_t size) except -1:
        return 0


cdef RequestFields make_request_fields():
    cdef RequestFields self = RequestFields.__new__(RequestFields)
    self.begin(0, 0)
    return self


cdef class RequestFields(FieldSink):
    def __dealloc__(self):
        self.drop()
        PyMem_Free(self.kept)

    cdef void begin(self, Py_ssize_t max_size, int max_fields) noexcept:
        """Begin a request of at most `max_size` bytes and `max_fields` fields; 0: no limit."""
        self.drop()
        self.size_left = max_size if max_size else NO_LIMIT
        self.fields_left = max_fields if max_fields else NO_LIMIT
        self.regular = self.te_trailers = self.expect_continue = False
        self.cookie_at = self.over_limit = 0
        self.content_length = -1
        self.malformed = NULL
        self.headers = self.crumbs = None
        self.host = None
        self.method = self.scheme = self.authority = self.path = self.protocol = self.priority = None

    cdef int add(self, tuple field, int kind, Py_ssize_t size) except -1:
        self.size_left -= size
        if kind == PLAIN:
            self.regular = True
            self.fields_left -= 1
        elif kind >= MALFORMED:
            self.malformed = reasons[kind]
            return 0
        elif kind >= PSEUDO_METHOD:
            return self.add_pseudo(field, kind)
        elif self.add_regular(field, kind):
            return 0
        if self.size_left < 0 or self.fields_left < 0:
            self.refuse(431)
            return 0
        if 0 < self.count < self.capacity:
            Py_INCREF(field)
            self.kept[self.count] = <PyObject*>field
            self.count += 1
            return 0
        return self.keep(field)

    cdef int keep(self, tuple field) except -1:
        cdef PyObject** more
        cdef Py_ssize_t capacity
        if self.count >= self.capacity:
            capacity = self.capacity * 2 if self.capacity else FIRST_CAPACITY
            more = <PyObject**>PyMem_Realloc(self.kept, capacity * sizeof(PyObject*))
            if more == NULL:
                raise MemoryError
            self.kept = more
            self.capacity = capacity
        if self.count == 0:
            self.kept[0] = NULL
            self.count = 1
        Py_INCREF(field)
        self.kept[self.count] = <PyObject*>field
        self.count += 1
        return 0

    cdef int add_regular(self, tuple field, int kind) except -1:
        """Note a field that means something to the server; return whether it is not to be kept as it is."""
        cdef bytes value = part(field, 1)
        cdef const char* text = PyBytes_AS_STRING(value)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value), at
        self.regular = True
        if kind == COOKIE:
            if self.cookie_at:
                if self.crumbs is None:
                    self.crumbs = []
                if self.size_left >= 0:
                    self.crumbs.append(value)
                else:
                    self.refuse(431)
                return 1
            self.cookie_at = self.count if self.count else 1
        elif kind == CONTENT_LENGTH_FIELD:
            if self.content_length >= 0:
                self.malformed = b"more than one Content-Length"
            self.content_length = 0
            for at in range(size):
                self.content_length = self.content_length * 10 + (text[at] - c"0")
        elif kind == HOST_FIELD:
            self.fields_left -= 1
            if self.host is not None:
                self.refuse(400)
            self.host = field
            if self.size_left < 0 or self.fields_left < 0:
                self.refuse(431)
            return 1
        elif kind == TE_FIELD:
            self.te_trailers = True
        elif kind == EXPECT_FIELD:
            if has_other_member(text, size, b"100-continue", 12):
                self.refuse(417)
            self.expect_continue |= has_member(text, size, b"100-continue", 12)
        elif kind == PRIORITY_FIELD:
            if self.priority is None:
                self.priority = value
            elif PyBytes_GET_SIZE(self.priority) + size < PRIORITY_ROOM:
                self.priority += b", " + value
        self.fields_left -= 1
        return 0

    cdef int add_pseudo(self, tuple field, int kind) except -1:
        cdef bytes value = part(field, 1)
        cdef bint twice
        if kind == PSEUDO_METHOD:
            twice = self.method is not None
            self.method = value
        elif kind == PSEUDO_SCHEME:
            twice = self.scheme is not None
            self.scheme = value
        elif kind == PSEUDO_AUTHORITY:
            twice = self.authority is not None
            self.authority = value
            if self.authority_field is not field:
                self.authority_field = field
                self.host_field = (host_name, value)
                self.host_is_valid = valid_host(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
        elif kind == PSEUDO_PATH:
            twice = self.path is not None
            self.path = value
        else:
            twice = self.protocol is not None
            self.protocol = value
        if twice:
            self.malformed = b"pseudo-header twice"
        elif self.regular:
            self.malformed = b"pseudo-header after other fields"
        if self.size_left < 0:
            self.refuse(431)
        return 0

    cdef int finish(self) except -1:
        cdef Py_ssize_t at, first
        if self.malformed == NULL:
            self.check_pseudo()
        if self.malformed == NULL:
            self.settle_host()
        if self.malformed != NULL or self.size_left < 0 or self.fields_left < 0:
            self.headers = []
            self.drop()
            return 0
        if self.crumbs is not None:
            self.join_cookies()
        first = 1 if self.host is None else 0
        self.headers = PyList_New(max(self.count, 1) - first)
        if self.host is not None:
            Py_INCREF(self.host)
            PyList_SET_ITEM(self.headers, 0, self.host)
        for at in range(1, self.count):
            PyList_SET_ITEM(self.headers, at - first, <object>self.kept[at])  # which takes our reference
        self.count = 0
        if self.capacity > KEPT_CAPACITY:
            PyMem_Free(self.kept)
            self.kept = NULL
            self.capacity = 0
        return 0

    cdef void drop(self) noexcept:
        while self.count:
            self.count -= 1
            Py_XDECREF(self.kept[self.count])

    cdef int join_cookies(self) except -1:
        """Make one field of all crumbs, in the place of the first (section 8.2.3)."""
        cdef tuple whole
        self.crumbs.insert(0, part(<tuple>self.kept[self.cookie_at], 1))
        whole = (cookie_name, b"; ".join(self.crumbs))
        Py_DECREF(<object>self.kept[self.cookie_at])
        Py_INCREF(whole)
        self.kept[self.cookie_at] = <PyObject*>whole
        self.crumbs = None
        return 0

    cdef int settle_host(self) except -1:
        """Leave in `host` the field that the scope gets (section 8.3.1)."""
        cdef bytes named = None if self.host is None else part(self.host, 1)
        cdef bytes authority = self.authority
        if authority is None and named is None:
            self.refuse(400)
            return 0
        if authority is not None:
            if named is not None and named != authority:
                if normal_host(named, self.scheme) != normal_host(authority, self.scheme):
                    self.refuse(400)
            self.host = self.host_field
            if not self.host_is_valid:
                self.refuse(400)
        elif not valid_host(PyBytes_AS_STRING(named), PyBytes_GET_SIZE(named)):
            self.refuse(400)
        return 0

    cdef void check_pseudo(self) noexcept:
        cdef const char* path
        if self.method is None:
            self.malformed = b"no :method"
        elif self.protocol is None and self.method == connect:
            if self.scheme is not None or self.path is not None:
                self.malformed = b"CONNECT with :scheme or :path"
            elif self.authority is None:
                self.malformed = b"CONNECT without :authority"
        elif self.protocol is not None and not self.takes_protocol:
            self.malformed = reasons[UNKNOWN_PSEUDO]
        elif self.scheme is None:
            self.malformed = b"no :scheme"
        elif self.path is None:
            self.malformed = b"no :path"
        elif self.protocol is not None and self.method != connect:
            self.malformed = b":protocol without CONNECT"
        elif self.protocol is not None and self.authority is None:
            self.malformed = b"CONNECT without :authority"
        else:
            path = PyBytes_AS_STRING(self.path)
            if path[0] != c"/" and not (PyBytes_GET_SIZE(self.path) == 1 and path[0] == c"*" and self.method == b"OPTIONS"):
                self.malformed = b"malformed :path"
            elif not (
                equals(PyBytes_AS_STRING(self.scheme), PyBytes_GET_SIZE(self.scheme), b"http", 4)
                or equals(PyBytes_AS_STRING(self.scheme), PyBytes_GET_SIZE(self.scheme), b"https", 5)
            ):
                self.refuse(400)

    cdef void refuse(self, int status) noexcept:
        """Note the first reason for refusing it."""
        if self.over_limit == 0:
            self.over_limit = status


cdef class TrailerFields(FieldSink):
    cdef void begin(self, Py_ssize_t max_size, int max_fields) noexcept:
        """Begin a trailer section of at most `max_size` bytes and `max_fields` fields; 0: no limit."""
        self.size_left = max_size if max_size else NO_LIMIT
        self.fields_left = max_fields if max_fields else NO_LIMIT
        self.malformed = NULL
        self.over_limit = 0

    cdef int add(self, tuple field, int kind, Py_ssize_t size) except -1:
        self.size_left -= size
        self.fields_left -= 1
        if kind >= MALFORMED:
            self.malformed = reasons[kind]
        elif kind >= PSEUDO_METHOD:
            self.malformed = b"pseudo-header in trailers"
        elif part(field, 0) in refused_trailers:
            self.malformed = b"field not allowed in trailers"
        elif self.size_left < 0 or self.fields_left < 0:
            self.over_limit = 431
        return 0
