"""The ASGI scope of a request."""
import os

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeASCII, PyUnicode_DecodeUTF8

from .names cimport LOWER, UNKNOWN, known
from .parser cimport HEAD, Parser, method_name
from .request cimport Field, Request


cdef dict ASGI = {"version": "3.0", "spec_version": "2.5"}
cdef dict EXTENSIONS = {"http.response.early_hint": {}}
if hasattr(os, "pread"):
    EXTENSIONS["http.response.pathsend"] = {}
    EXTENSIONS["http.response.zerocopysend"] = {}


cdef class Peers:
    def __init__(self, client, server, scheme):
        self.client = client
        self.server = server
        self.scheme = scheme
        self.extensions = EXTENSIONS
        self.template = {
            "type": "http",
            "asgi": None,
            "http_version": "1.1",
            "method": None,
            "scheme": scheme,
            "path": None,
            "raw_path": None,
            "query_string": b"",
            "root_path": "",
            "headers": None,
            "client": client,
            "server": server,
            "state": None,
            "extensions": None,
        }


cdef Peers peers_of(transport):
    info = transport.get_extra_info
    scheme = "https" if info("sslcontext") is not None else "http"
    return Peers(address_of(info("peername"), False), address_of(info("sockname"), True), scheme)


cdef object address_of(name, bint own):
    """An address as the scope has it: (host, port), for the server on a UNIX socket (path, None), or None."""
    if isinstance(name, tuple) and len(name) >= 2:
        return (str(name[0]), int(name[1]))
    if own and name and isinstance(name, (str, bytes)):
        return (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"), None)
    return None


cdef int hex_value(char digit) noexcept:
    if c"0" <= digit <= c"9":
        return digit - c"0"
    digit |= 0x20
    return digit - c"a" + 10 if c"a" <= digit <= c"f" else -1


cdef str decode_path(const char* path, Py_ssize_t size):
    """Undo percent-encoding, then UTF-8; what is not UTF-8 becomes U+FFFD, a "%" without two digits stays."""
    cdef char* decoded = <char*>PyMem_Malloc(size)
    cdef Py_ssize_t at = 0, written = 0
    cdef int high, low
    if decoded == NULL:
        raise MemoryError
    while at < size:
        if path[at] == c"%" and at + 2 < size:
            high, low = hex_value(path[at + 1]), hex_value(path[at + 2])
            if high >= 0 and low >= 0:
                decoded[written] = <char>(high << 4 | low)
                written += 1
                at += 3
                continue
        decoded[written] = path[at]
        written += 1
        at += 1
    try:
        return PyUnicode_DecodeUTF8(decoded, written, b"replace")
    finally:
        PyMem_Free(decoded)


cdef bytes lowered(const char* name, Py_ssize_t size):
    cdef bytes lower = PyBytes_FromStringAndSize(NULL, size)
    cdef char* out = lower
    cdef Py_ssize_t at
    for at in range(size):
        out[at] = <char>LOWER[<unsigned char>name[at]]
    return lower


cdef list header_list(Request head):
    """All fields as (name, value), names in lower case, order and duplicates as received."""
    cdef list headers = []
    cdef Py_ssize_t index
    cdef Field* field
    cdef object name
    for index in range(head.count):
        field = &head.fields[index]
        if field.known != UNKNOWN:
            name = known(field.known)
        else:
            name = lowered(head.head + field.name.start, field.name.size)
        headers.append((name, PyBytes_FromStringAndSize(head.head + field.value.start, field.value.size)))
    return headers


cdef dict http_scope(Request head, Peers peers, Settings settings, dict state):
    """Build the scope of the request whose head was just parsed (ASGI HTTP 2.5)."""
    cdef str path
    cdef bytes raw_path
    cdef dict scope, extensions = peers.extensions.copy()
    if head.path.size == 0:  # an absolute-form target without a path (RFC 9110 section 4.2.3)
        path, raw_path = "/", b"/"
    else:
        raw_path = PyBytes_FromStringAndSize(head.head + head.path.start, head.path.size)
        if head.escaped:
            path = decode_path(head.head + head.path.start, head.path.size)
        else:
            path = PyUnicode_DecodeASCII(head.head + head.path.start, head.path.size, NULL)
    if settings.raw_root_path:
        path = settings.root_path + path
        raw_path = settings.raw_root_path + raw_path
    # Copying a dict and replacing values is cheaper than filling one.
    scope = peers.template.copy()
    scope["asgi"] = ASGI.copy()
    if head.minor == 0:
        scope["http_version"] = "1.0"
        del extensions["http.response.early_hint"]  # no 1xx to such a client (RFC 9110 section 15.2)
    elif head.te_trailers:
        extensions["http.response.trailers"] = {}
    scope["method"] = method_name(head.method)
    scope["path"] = path
    scope["raw_path"] = raw_path
    if head.query.size:
        scope["query_string"] = PyBytes_FromStringAndSize(head.head + head.query.start, head.query.size)
    if settings.root_path:
        scope["root_path"] = settings.root_path
    scope["headers"] = header_list(head)
    scope["state"] = state.copy()
    scope["extensions"] = extensions
    return scope


def scope_of(Settings settings, bytes request, Peers peers, dict state):
    """Return the scope that this complete request head gets, or None for one that is refused, for tests."""
    cdef Parser parser = Parser(settings)
    cdef const char* position = request
    cdef const char* end = position + len(request)
    if not parser.next(&position, end) & HEAD:
        return None
    return http_scope(parser.request, peers, settings, state)
