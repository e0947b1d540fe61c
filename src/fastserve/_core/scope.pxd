"""The ASGI scope of a request."""
from .request cimport Request
from .settings cimport Settings


cdef class Peers:
    """What the scopes of one connection have in common."""
    cdef readonly object client  # (host, port), or None
    cdef readonly object server  # (host, port), (path, None), or None
    cdef readonly str scheme  # "http" or "https"
    cdef dict template  # of a scope
    cdef dict extensions  # that every request over HTTP/1.1 has


cdef Peers peers_of(transport)
cdef dict http_scope(Request head, Peers peers, Settings settings, dict state)
