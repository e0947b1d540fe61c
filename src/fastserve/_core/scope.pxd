"""The ASGI scope of a request."""
from .parser cimport Parser
from .settings cimport Settings


cdef class Peers:
    """What the scopes of one connection have in common."""
    cdef readonly object client  # (host, port), or None
    cdef readonly object server  # (host, port), (path, None), or None
    cdef readonly str scheme  # "http" or "https"


cdef dict http_scope(Parser head, Peers peers, Settings settings, dict state)
