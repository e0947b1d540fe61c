"""The environ of a request (PEP 3333), made from its ASGI scope."""

cdef class Environs:
    cdef dict constants
    cdef readonly dict templates  # by (server, scheme, version)
    cdef tuple last  # those three of the last request, and their template

    cdef dict environ_of(self, dict scope, body)
    cdef dict template_of(self, object server, object scheme, object version)
    cdef dict make_template(self, tuple ends)
