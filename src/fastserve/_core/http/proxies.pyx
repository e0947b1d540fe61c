"""What trusted proxies say about a request's client and scheme, in X-Forwarded-For and X-Forwarded-Proto.

`hosts` decides who is trusted and what the headers mean. This module finds the headers and caches those decisions.
"""
from time import time

from cpython.bytes cimport PyBytes_FromStringAndSize

from ..metrics cimport PROXY_WAIT, Metrics, fastserve_observe
from .field_names cimport X_FORWARDED_FOR, X_FORWARDED_PROTO, X_QUEUE_START, X_REQUEST_START
from .request cimport Field, Request

cdef enum:
    REMEMBERED = 4096  # cached values of X-Forwarded-For, and cached peers
    LONGEST = 200  # bytes of a value that is cached
    MOST_WAITED = 600  # seconds since a proxy had the request: what says more is wrong


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
    None.
    """

    def __init__(self, hosts, scheme_of):
        self.hosts = hosts
        self.scheme_of = scheme_of
        self.clients = {}
        self.trusted = {}

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
