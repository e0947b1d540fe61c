"""What trusted proxies say of a request's client and scheme, in X-Forwarded-For and X-Forwarded-Proto.

Who is trusted and what the headers mean is `hosts`' to say; here they are found, and what was said is remembered.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize

from .field_names cimport X_FORWARDED_FOR, X_FORWARDED_PROTO
from .request cimport Field, Request

cdef enum:
    REMEMBERED = 4096  # values of X-Forwarded-For whose client is known, and peers of whom it is known what they are
    LONGEST = 200  # bytes of one that is worth remembering


cpdef str plain_host(str host):
    """Return an IP address, an IPv4-mapped one of IPv6 (::ffff:192.0.2.1) as the IPv4 address that it stands for."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


cdef class Proxies:
    """The proxies that are believed.

    `hosts.trusts(host)` says whether one of them is at this address, None for that of a UNIX socket;
    `hosts.client(forwarded)` gives the (host, port) of the client that a value of X-Forwarded-For is about, with an
    empty host where it does not say one; `scheme_of(protocol, websocket)` the scheme of a value of X-Forwarded-Proto, or None.
    """

    def __init__(self, hosts, scheme_of):
        self.hosts = hosts
        self.scheme_of = scheme_of
        self.clients = {}
        self.trusted = {}

    cdef bint trust(self, client) except -1:
        """Whether what comes from this peer, an address of the scope or None, comes from a proxy."""
        host = None if client is None else client[0]
        trusted = self.trusted.get(host)
        if trusted is None:
            if len(self.trusted) >= REMEMBERED:
                self.trusted.clear()
            trusted = self.trusted[host] = self.hosts.trusts(host)
        return trusted

    cdef int forward(self, dict scope, Request head) except -1:
        """Put what a proxy says into the scope of an HTTP or WebSocket request."""
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
