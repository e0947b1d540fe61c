"""What trusted proxies say about a request's client and scheme, in X-Forwarded-For and X-Forwarded-Proto.

`hosts` decides who is trusted and what the headers mean. This module finds the headers and caches those decisions. Other
headers, and more than client and scheme, are read by a `reader`, whose decisions are cached as well.
"""
from time import time

from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from ..metrics cimport PROXY_WAIT, Metrics, fastserve_observe
from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from .field_names cimport X_FORWARDED_FOR, X_FORWARDED_PROTO, X_QUEUE_START, X_REQUEST_START
from .request cimport Field, Request
from .rules cimport port_start, valid_host

cdef enum:
    REMEMBERED = 4096  # cached values of X-Forwarded-For, and cached peers
    LONGEST = 200  # bytes of a value that is cached
    MIXED = 4  # where in a value are the 16 bytes that choose its slot: after `for=` is the client's address
    MIXED_END = MIXED + 16
    SLOTS = 256
    MOST_WAITED = 600  # seconds since a proxy had the request: what says more is wrong

cdef uint64_t MIXER = 0x9E3779B97F4A7C15

cdef dict DEFAULT_PORTS = {"http": b"80", "ws": b"80", "https": b"443", "wss": b"443"}


cpdef str plain_host(str host):
    """Return an IP address; an IPv4-mapped IPv6 address (::ffff:192.0.2.1) becomes the IPv4 address that it maps."""
    if not host or host[0] != ":":  # as of most: this is asked twice for each connection
        return host
    return host[7:] if host.startswith("::ffff:") and "." in host else host


cdef class Proxies:
    """The proxies that are trusted.

    `hosts.trusts(host)` tells whether one of them has this address (None: the peer of a UNIX socket);
    `hosts.client(forwarded)` gives the (host, port) of the client that a value of X-Forwarded-For names, with an
    empty host if it names none; `scheme_of(protocol, websocket)` gives the scheme for a value of X-Forwarded-Proto, or
    None. With a `reader` those two do not count: its `fields` are (name, joined) pairs of the headers that do, and
    `reader.said(values)` gives client, scheme, host, port and prefix. A prefix takes the place of `root_path`, which
    begins the scope's path unless `path_is_whole`.
    """

    def __init__(self, hosts, scheme_of, reader=None, str root_path="", bint path_is_whole=False):
        self.hosts = hosts
        self.scheme_of = scheme_of
        self.clients = {}
        self.trusted = {}
        self.reader = reader
        self.root_path = root_path
        self.path_is_whole = path_is_whole
        if reader is not None:
            self.names = tuple([name for name, _ in reader.fields])
            self.joined = tuple([joined for _, joined in reader.fields])
            self.said = {}
            self.recent = [None] * SLOTS

    cdef bint trust(self, client) except -1:
        """Return whether this peer, an address of the scope or None, is a trusted proxy."""
        host = None if client is None else client[0]
        trusted = self.trusted.get(host)
        if trusted is None:
            if len(self.trusted) >= REMEMBERED:
                self.trusted.clear()
            trusted = self.trusted[host] = self.hosts.trusts(host)
        return trusted

    cdef int forward(self, dict scope, Request head) except -1:
        """Apply what a proxy says to the scope of an HTTP or WebSocket request."""
        cdef Py_ssize_t index
        cdef Field* field
        cdef bytes protocol = None, forwarded = None, value
        if self.reader is not None:
            return self.read(scope, <list>scope["headers"])
        for index in range(head.count):
            field = &head.fields[index]
            if field.known != X_FORWARDED_FOR and field.known != X_FORWARDED_PROTO:
                continue
            value = PyBytes_FromStringAndSize(head.head + field.value.start, field.value.size)
            if field.known == X_FORWARDED_PROTO:
                protocol = value
            else:
                forwarded = value if forwarded is None else forwarded + b", " + value
        return self.apply(scope, protocol, forwarded)

    cdef int forward_list(self, dict scope, list headers) except -1:
        """Do the same with (name, value) pairs, the names in lower case."""
        cdef bytes protocol = None, forwarded = None, name, value
        if self.reader is not None:
            return self.read(scope, headers)
        for name, value in headers:
            if name == b"x-forwarded-proto":
                protocol = value
            elif name == b"x-forwarded-for":
                forwarded = value if forwarded is None else forwarded + b", " + value
        return self.apply(scope, protocol, forwarded)

    cdef int apply(self, dict scope, bytes protocol, bytes forwarded) except -1:
        """Put the values of X-Forwarded-Proto and X-Forwarded-For into a scope, each None where there is none."""
        if protocol is not None:
            scheme = self.scheme_of(protocol, scope["type"] == "websocket")
            if scheme is not None:
                scope["scheme"] = scheme
        if forwarded is not None:
            client = self.client_of(forwarded)
            if client[0]:
                scope["client"] = client
        return 0

    def forward_scope(self, dict scope not None):
        """Do the same for a scope of which nothing is known, if its client is a trusted proxy."""
        if self.trust(scope.get("client")):
            if type(scope["headers"]) is not list:
                scope["headers"] = list(scope["headers"])
            self.forward_list(scope, <list>scope["headers"])

    cdef int read(self, dict scope, list headers) except -1:
        """Find the reader's headers, and apply what they say."""
        cdef Py_ssize_t count = len(self.names), index
        cdef bint found = False
        cdef list values = [None] * count
        cdef tuple pair, said
        cdef bytes name, value = None, only
        cdef object key
        if count == 1 and self.joined[0]:  # as for Forwarded alone: nothing is made but the value
            only = <bytes>self.names[0]
            for pair in headers:
                if <bytes>pair[0] == only:
                    value = <bytes>pair[1] if value is None else value + b", " + <bytes>pair[1]
            if value is None:
                return 0
            return self.apply_said(scope, headers, self.recall(value))
        for pair in headers:
            name = <bytes>pair[0]
            for index in range(count):
                if name == <bytes>self.names[index]:
                    value = <bytes>pair[1]
                    if values[index] is not None and self.joined[index]:
                        value = <bytes>values[index] + b", " + value
                    values[index] = value
                    found = True
        if not found:
            return 0
        key = tuple(values)
        said = <tuple>self.said.get(key)
        return self.apply_said(scope, headers, self.ask(key, key) if said is None else said)

    cdef tuple recall(self, bytes value):
        """Return what the reader makes of one value. Most come again soon, and a comparison costs less than a hash."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
        cdef const char* data = PyBytes_AS_STRING(value)
        cdef uint64_t parts[2]
        cdef Py_ssize_t slot = -1
        cdef tuple recent, said
        if MIXED_END <= size <= LONGEST:
            memcpy(parts, data + MIXED, sizeof(parts))
            slot = ((parts[0] * MIXER ^ parts[1]) * MIXER) >> 56
            recent = <tuple>self.recent[slot]
            if recent is not None and PyBytes_GET_SIZE(<bytes>recent[0]) == size:
                if memcmp(PyBytes_AS_STRING(<bytes>recent[0]), data, size) == 0:
                    return <tuple>recent[1]
        said = <tuple>self.said.get(value)
        if said is None:
            said = self.ask(value, (value,))
        if slot >= 0:
            self.recent[slot] = (value, said)
        return said

    cdef tuple ask(self, key, tuple values):
        """Return what the reader makes of these values, and remember it."""
        cdef tuple said = tuple(self.reader.said(values))
        if sum([len(each) for each in values if each is not None]) <= LONGEST:
            if len(self.said) >= REMEMBERED:
                self.said.clear()
            self.said[key] = said
        return said

    cdef int apply_said(self, dict scope, list headers, tuple said) except -1:
        cdef bytes host
        cdef Py_ssize_t index
        client, scheme, host, port, prefix = said
        if client is not None:
            scope["client"] = client
        if scheme is not None:
            scope["scheme"] = (<str>scheme).replace("http", "ws") if scope["type"] == "websocket" else scheme
        if host is not None:
            if port is not None and host_has_no_port(host) and port != DEFAULT_PORTS.get(scope["scheme"]):
                host += b":" + <bytes>port
            if valid_host(PyBytes_AS_STRING(host), PyBytes_GET_SIZE(host)):
                for index in range(len(headers)):
                    if <bytes>(<tuple>headers[index])[0] == b"host":
                        headers[index] = (b"host", host)
                        break
                else:
                    headers.insert(0, (b"host", host))
        if prefix is not None:
            self.apply_prefix(scope, <str>prefix)
        return 0

    cdef int apply_prefix(self, dict scope, str prefix) except -1:
        from urllib.parse import unquote  # few need it

        cdef str root = unquote(prefix)
        scope["root_path"] = root
        if not self.path_is_whole:
            scope["path"] = root + (<str>scope["path"])[len(self.root_path):]
            if scope.get("raw_path") is not None:
                scope["raw_path"] = prefix.encode("latin-1") + scope["raw_path"][len(self.root_path.encode("utf-8")):]
        return 0

    cdef tuple client_of(self, bytes forwarded):
        cdef tuple client = <tuple>self.clients.get(forwarded)
        if client is None:
            client = self.hosts.client(forwarded.decode("latin-1"))
            if len(forwarded) <= LONGEST:
                if len(self.clients) >= REMEMBERED:
                    self.clients.clear()
                self.clients[forwarded] = client
        return client

    cdef int note_wait(self, Request head, Metrics metrics) except -1:
        """Count how long the request was on its way from a proxy that says when it had it."""
        cdef Py_ssize_t index
        cdef Field* field
        for index in range(head.count):
            field = &head.fields[index]
            if field.known == X_REQUEST_START or field.known == X_QUEUE_START:
                return count_wait(head.head[field.value.start:field.value.start + field.value.size], metrics)
        return 0

    cdef int note_wait_of(self, list headers, Metrics metrics) except -1:
        """Do the same with (name, value) pairs."""
        cdef bytes name, value
        for name, value in headers:
            if name == b"x-request-start" or name == b"x-queue-start":
                return count_wait(value, metrics)
        return 0


cdef bint host_has_no_port(bytes host) noexcept:
    return port_start(PyBytes_AS_STRING(host), PyBytes_GET_SIZE(host)) == PyBytes_GET_SIZE(host)


cdef int count_wait(bytes value, Metrics metrics) except -1:
    cdef double waited = waited_since(value, time())
    if waited >= 0:
        fastserve_observe(metrics.cells + PROXY_WAIT, waited)
    return 0


cpdef double waited_since(bytes value, double now) except? -1:
    """Return the seconds from a proxy's `t=...`, in seconds, milliseconds or microseconds, until now; -1 if it is wrong."""
    cdef double when
    try:
        when = float(value[2:] if value[:2] == b"t=" else value)
    except ValueError:
        return -1
    if when > 1e14:
        when /= 1000000
    elif when > 1e11:
        when /= 1000
    return now - when if 0 <= now - when <= MOST_WAITED else -1
