"""The environ of a request (PEP 3333), made from its ASGI scope."""

cdef class Environs:
    cdef dict constants
    cdef readonly dict templates  # by (server, scheme, version)

    cdef dict environ_of(self, dict scope, body)
    cdef dict template_of(self, tuple ends)
