"""The transport of a connection whose client a proxy has named by the PROXY protocol."""


cdef class Proxied:
    cdef readonly object transport
    cdef readonly object client  # (host, port), None for the peer's own
    cdef readonly object extension  # for scopes


cpdef object parse(bytes data, str mode)
