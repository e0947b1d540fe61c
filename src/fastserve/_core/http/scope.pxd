"""The ASGI scope of a request."""
from ..settings cimport Settings
from ..worker cimport Worker
from .proxies cimport Proxies
from .request cimport Request


cdef class Peers:
    """What the scopes of one connection have in common."""
    cdef readonly object client  # (host, port), or None
    cdef readonly object server  # (host, port), (path, None), or None
    cdef readonly str scheme  # "http" or "https"
    cdef bint encrypted  # it is "https"
    cdef dict template  # of a scope; shared
    cdef dict extensions  # of every request over HTTP/1.1
    cdef dict tls  # the extension of that name; None on plain connections
    cdef dict proxied  # the extension of the PROXY protocol; None without
    cdef Proxies proxies  # None unless the peer is a trusted one
    cdef str port  # the client's in a WSGI environ, None before the first

    cdef int set(self, client, server, str scheme) except -1
    cdef int begin(self, client, str scheme, dict template) except -1
    cdef int speak(self, str version) except -1


cdef Peers peers_of(transport, int fd, Worker worker)  # `fd` is that of a plain connection, or -1
cdef int complete(dict scope, Request head, Peers peers) except -1
cdef list header_list(Request head)
cdef dict scope_of(Peers peers, Settings settings, dict state, str method, bytes target, list headers, bint te_trailers)
cdef dict http_scope(Request head, Peers peers, Settings settings, dict state)
cdef dict unseen_scope(Request head, Peers peers, Settings settings)
cdef dict websocket_scope(Request head, Peers peers, Settings settings, dict state, list subprotocols)
cdef dict websocket_scope_of(Peers peers, Settings settings, dict state, bytes target, list headers, list subprotocols)
cdef tuple ipv4_of(int fd, bint peer)
