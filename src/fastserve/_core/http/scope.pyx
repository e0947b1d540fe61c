"""The ASGI scope of a request."""
import os

from libc.string cimport memchr, memcmp, memcpy

from ..llhttp cimport HTTP_GET
from ..python cimport (
    PyBytes_FromStringAndSize, PyList_New, PyList_SET_ITEM, PyMem_Free, PyMem_Malloc, PyUnicode_DecodeASCII,
    PyUnicode_DecodeUTF8, Py_INCREF,
)
from ..system cimport fastserve_ipv4
from ..worker cimport Worker
from .field_names cimport HOST, LOWER, UNKNOWN, known
from .methods cimport method_name
from .proxies cimport Proxies, plain_host
from .proxy_protocol cimport Proxied
from .request cimport Field, Request


cdef dict ASGI = {"version": "3.0", "spec_version": "2.5"}
# From 2.4 on frameworks expect an error from send() once the client is gone, and do not ask receive() about it.
cdef dict SILENT_ASGI = {"version": "3.0", "spec_version": "2.3"}
cdef dict EXTENSIONS = {"http.response.early_hint": {}, "fastserve.topics": {}}
cdef dict EXTENSIONS_WITH_PATHSEND = EXTENSIONS
if hasattr(os, "pread"):
    EXTENSIONS["http.response.zerocopysend"] = {}
    EXTENSIONS_WITH_PATHSEND = {**EXTENSIONS, "http.response.pathsend": {}}


cdef enum:
    MOST_TEMPLATES = 64  # local addresses; one socket may receive connections to every address of a machine

cdef dict templates = {}  # of scopes, by version, scheme and local address


cdef dict template_of(str version, str scheme, server):
    """Return the template of the scopes of all connections to an address; it is copied for each."""
    cdef tuple key = (version, scheme, server)
    cdef dict template = templates.get(key)
    if template is None:
        if len(templates) >= MOST_TEMPLATES:
            templates.clear()
        template = templates[key] = {
            "type": "http",
            "asgi": None,
            "http_version": version,
            "method": "GET",
            "scheme": scheme,
            "path": None,
            "raw_path": None,
            "query_string": b"",
            "root_path": "",
            "headers": None,
            "client": None,
            "server": server,
            "state": None,
            "extensions": EXTENSIONS,
        }
    return template


cdef class Peers:
    def __init__(self, client, server, scheme):
        self.set(client, server, scheme)

    cdef int set(self, client, server, str scheme) except -1:
        return self.begin(client, scheme, template_of("1.1", scheme, server))

    cdef int begin(self, client, str scheme, dict template) except -1:
        self.client = client
        self.port = None
        self.scheme = scheme
        self.encrypted = scheme == "https"
        self.extensions = EXTENSIONS
        self.template = template
        self.server = template["server"]  # one object for all connections
        return 0

    cdef int speak(self, str version) except -1:
        """Have the scopes name another version of HTTP than 1.1."""
        self.template = template_of(version, self.scheme, self.server)
        return 0

    @classmethod
    def of(cls, client, server, scheme, Settings settings not None):
        """Return the peers of a connection, one of which may be a proxy that the settings trust."""
        return make_peers(client, server, scheme, settings)


cdef Peers make_peers(client, server, scheme, Settings settings):
    return settled(client, scheme, template_of("1.1", scheme, server), settings)


cdef Peers settled(client, str scheme, dict template, Settings settings):
    cdef Peers peers = Peers.__new__(Peers)
    peers.begin(client, scheme, template)
    if settings.sendfile:
        peers.extensions = EXTENSIONS_WITH_PATHSEND
    if settings.proxies is not None and (<Proxies?>settings.proxies).trust(client):
        peers.proxies = settings.proxies
    return peers


cdef dict own_template(int fd, Worker worker):
    """Return the template of the scopes of a plain connection by IPv4, which is mostly that of the last one, or None."""
    cdef unsigned char host[4]
    cdef int port = 0
    if worker.has_one_address and worker.own_template is not None:
        return worker.own_template
    if not fastserve_ipv4(fd, False, host, &port):
        return None
    if worker.own_template is None or port != worker.own_port or memcmp(host, worker.own_host, 4):
        memcpy(worker.own_host, host, 4)
        worker.own_port = port
        worker.own_template = template_of("1.1", "http", ipv4_of(fd, False))
    return worker.own_template


cdef Peers peers_of(transport, int fd, Worker worker):
    cdef Settings settings = worker.settings
    cdef Peers peers
    cdef dict template
    cdef Proxied proxied = <Proxied>transport if type(transport) is Proxied else None
    # Asking the kernel directly takes a fifth of the time that uvloop takes to ask it.
    client = ipv4_of(fd, True) if proxied is None or proxied.client is None else proxied.client
    template = None if client is None or fd < 0 else own_template(fd, worker)
    if template is not None:
        peers = settled(client, "http", template, settings)
        if proxied is not None:
            peers.proxied = proxied.extension
        return peers
    info = transport.get_extra_info
    encrypted = info("sslcontext") is not None
    scheme = "https" if encrypted else "http"
    peers = make_peers(address_of(info("peername"), False), address_of(info("sockname"), True), scheme, settings)
    connection = info("ssl_object") if encrypted else None
    if connection is not None and settings.tls is not None:
        peers.tls = settings.tls(connection)
    if proxied is not None:
        peers.proxied = proxied.extension
    elif encrypted:
        peers.proxied = info("proxy_protocol")  # of the transport below
    return peers


cdef tuple ipv4_of(int fd, bint peer):
    """Return the IPv4 address of one end of a connection as in the scope, also for an IPv4-mapped one, or None."""
    cdef unsigned char host[4]
    cdef char text[15]
    cdef int port = 0, part, at = 0
    if fd < 0 or not fastserve_ipv4(fd, peer, host, &port):
        return None
    for part in range(4):
        if part:
            text[at] = c"."
            at += 1
        if host[part] >= 100:
            text[at] = c"0" + host[part] // 100
            at += 1
        if host[part] >= 10:
            text[at] = c"0" + host[part] // 10 % 10
            at += 1
        text[at] = c"0" + host[part] % 10
        at += 1
    return (PyUnicode_DecodeASCII(text, at, NULL), port)


cdef object address_of(name, bint own):
    """Return an address as in the scope: (host, port), (path, None) for the server on a UNIX socket, or None."""
    if isinstance(name, tuple) and len(name) >= 2:
        return (plain_host(str(name[0])), int(name[1]))
    if own and name and isinstance(name, (str, bytes)):
        return (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"), None)
    return None


cdef int hex_value(char digit) noexcept:
    if c"0" <= digit <= c"9":
        return digit - c"0"
    digit |= 0x20
    return digit - c"a" + 10 if c"a" <= digit <= c"f" else -1


cdef str decode_path(const char* path, Py_ssize_t size):
    """Decode percent-encoding, then UTF-8. Invalid UTF-8 becomes U+FFFD; a "%" without two hex digits stays."""
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
    """Return all fields as (name, value): names in lower case, order and duplicates as received."""
    cdef list headers = PyList_New(head.count)
    cdef Py_ssize_t index
    cdef Field* field
    cdef object name
    cdef tuple pair
    for index in range(head.count):
        field = &head.fields[index]
        if field.known != UNKNOWN:
            name = known(field.known)
        else:
            name = lowered(head.head + field.name.start, field.name.size)
        pair = (name, PyBytes_FromStringAndSize(head.head + field.value.start, field.value.size))
        Py_INCREF(pair)
        PyList_SET_ITEM(headers, index, pair)
    if head.authority.size:
        put_authority(headers, PyBytes_FromStringAndSize(head.head + head.authority.start, head.authority.size))
    return headers


cdef int put_authority(list headers, bytes authority) except -1:
    """Replace Host, which HTTP/1.0 may lack, by the target's authority (RFC 9112 section 3.2.2)."""
    cdef Py_ssize_t index
    cdef bytes host = known(HOST)
    for index in range(len(headers)):
        if headers[index][0] is host:
            headers[index] = (host, authority)
            return 0
    headers.insert(0, (host, authority))
    return 0


cdef dict http_scope(Request head, Peers peers, Settings settings, dict state):
    """Build the scope of the request whose head was just parsed (ASGI HTTP)."""
    # Copying a dict and replacing values is cheaper than filling one.
    cdef dict scope = peers.template.copy(), extensions = peers.extensions.copy()
    scope["client"] = peers.client
    if head.minor == 0:
        scope["http_version"] = "1.0"
        del extensions["http.response.early_hint"]  # no 1xx to such a client (RFC 9110 section 15.2)
    elif head.te_trailers:
        extensions["http.response.trailers"] = {}
    scope["asgi"] = (ASGI if settings.raise_disconnect else SILENT_ASGI).copy()
    scope["extensions"] = extensions
    if head.method != HTTP_GET:
        scope["method"] = method_name(head.method)
    return fill(scope, head, peers, settings, state)


cdef dict unseen_scope(Request head, Peers peers, Settings settings):
    """Build the scope of a request whose application does not see it: without copies of what all scopes share."""
    cdef dict scope = peers.template.copy()
    scope["client"] = peers.client
    if head.minor == 0:
        scope["http_version"] = "1.0"
    if head.method != HTTP_GET:
        scope["method"] = method_name(head.method)
    put_target(scope, head, settings)
    if peers.proxies is not None:
        peers.proxies.forward(scope, head)
    return scope


cdef dict websocket_scope(Request head, Peers peers, Settings settings, dict state, list subprotocols):
    """Build the scope of the handshake whose head was just parsed (ASGI WebSocket 2.5)."""
    return fill(empty_websocket_scope(peers, subprotocols), head, peers, settings, state)


cdef dict websocket_scope_of(Peers peers, Settings settings, dict state, bytes target, list headers, list subprotocols):
    """Build the same of a request whose head is not HTTP/1's; its target is a path with a query."""
    return fill_from(empty_websocket_scope(peers, subprotocols), peers, settings, state, target, headers)


cdef dict empty_websocket_scope(Peers peers, list subprotocols):
    return {
        "type": "websocket",
        "asgi": ASGI.copy(),
        "http_version": peers.template["http_version"],
        "scheme": "wss" if peers.scheme == "https" else "ws",
        "path": None,
        "raw_path": None,
        "query_string": b"",
        "root_path": "",
        "headers": None,
        "client": peers.client,
        "server": peers.server,
        "subprotocols": subprotocols,
        "state": None,
        "extensions": {"websocket.http.response": {}, "fastserve.topics": {}},
    }


cdef dict scope_of(Peers peers, Settings settings, dict state, str method, bytes target, list headers, bint te_trailers):
    """Build the scope of a request whose head is not HTTP/1's; its target is a path with a query, or "*"."""
    cdef dict scope = peers.template.copy(), extensions = peers.extensions.copy()
    if te_trailers:
        extensions["http.response.trailers"] = {}
    scope["client"] = peers.client
    scope["asgi"] = (ASGI if settings.raise_disconnect else SILENT_ASGI).copy()
    scope["extensions"] = extensions
    scope["method"] = method
    return fill_from(scope, peers, settings, state, target, headers)


cdef dict fill_from(dict scope, Peers peers, Settings settings, dict state, bytes target, list headers):
    """Fill in what every kind of scope has, its extensions being there already, without a head of HTTP/1."""
    cdef const char* path = target
    cdef Py_ssize_t size = len(target)
    cdef const char* query = <const char*>memchr(path, c"?", size)
    cdef Py_ssize_t path_size = size if query == NULL else query - path
    put_path(scope, path, path_size, memchr(path, c"%", path_size) != NULL, settings)
    if path_size + 1 < size:
        scope["query_string"] = target[path_size + 1:]
    if settings.root_path:
        scope["root_path"] = settings.root_path
    scope["headers"] = headers
    scope["state"] = state.copy()
    if peers.tls is not None:
        scope["extensions"]["tls"] = peers.tls.copy()
    if peers.proxied is not None:
        scope["extensions"]["fastserve.proxy_protocol"] = peers.proxied.copy()
    if peers.proxies is not None:
        peers.proxies.forward_list(scope, headers)
    return scope


cdef dict fill(dict scope, Request head, Peers peers, Settings settings, dict state):
    """Fill in what every kind of scope has. Its extensions are there already."""
    put_target(scope, head, settings)
    scope["state"] = state.copy()
    complete(scope, head, peers)
    return scope


cdef int put_target(dict scope, Request head, Settings settings) except -1:
    """Put the target and the headers of a request into its scope."""
    cdef bytes raw_path, query = b""
    cdef list headers = header_list(head)
    if head.path.size == 0:  # an absolute-form target without a path (RFC 9110 section 4.2.3)
        raw_path = put_path(scope, b"/", 1, False, settings)
    else:
        raw_path = put_path(scope, head.head + head.path.start, head.path.size, head.escaped, settings)
    if head.query.size:
        query = PyBytes_FromStringAndSize(head.head + head.query.start, head.query.size)
        scope["query_string"] = query
    if settings.root_path:
        scope["root_path"] = settings.root_path
    scope["headers"] = headers
    if head.noting:
        head.raw_path, head.query_string, head.headers = raw_path, query, headers
    return 0


cdef bytes put_path(dict scope, const char* start, Py_ssize_t size, bint escaped, Settings settings):
    cdef bytes raw_path = PyBytes_FromStringAndSize(start, size)
    cdef str path = decode_path(start, size) if escaped else PyUnicode_DecodeASCII(start, size, NULL)
    if settings.raw_root_path:
        path = settings.root_path + path
        raw_path = settings.raw_root_path + raw_path
    scope["path"] = path
    scope["raw_path"] = raw_path
    return raw_path


cdef int complete(dict scope, Request head, Peers peers) except -1:
    """Add to a scope with extensions what few connections have: TLS, and a proxy in front."""
    if peers.tls is not None:
        scope["extensions"]["tls"] = peers.tls.copy()  # an application may change its own scope
    if peers.proxied is not None:
        scope["extensions"]["fastserve.proxy_protocol"] = peers.proxied.copy()
    if peers.proxies is not None:
        peers.proxies.forward(scope, head)
    return 0
