"""The environ of a request (PEP 3333), made from its ASGI scope."""

from ..http.request cimport Request
from ..http.scope cimport Peers


cdef class Environs:
    cdef dict constants
    cdef readonly dict templates  # by (server, scheme, version)
    cdef object errors  # sys.stderr, as the templates have it
    cdef tuple last  # those three of the last request, and their template

    cdef dict environ_of(self, dict scope, body)
    # The same without wsgi.input, from the head of a request over HTTP/1; None if that takes a scope.
    cdef dict environ_of_head(self, Request head, Peers peers)
    cdef dict template_of(self, object server, object scheme, object version)
    cdef dict make_template(self, tuple ends)
