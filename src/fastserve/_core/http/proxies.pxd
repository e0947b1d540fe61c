"""What trusted proxies say about a request's client and scheme."""
from ..metrics cimport Metrics
from .request cimport Request


cdef class Proxies:
    cdef object hosts
    cdef object scheme_of
    cdef dict clients  # (host, port) by the value of X-Forwarded-For
    cdef dict trusted  # by host

    cdef bint trust(self, client) except -1
    cdef int forward(self, dict scope, Request head) except -1
    cdef int forward_list(self, dict scope, list headers) except -1
    cdef int apply(self, dict scope, bytes protocol, bytes forwarded) except -1
    cdef tuple client_of(self, bytes forwarded)
    cdef int note_wait(self, Request head, Metrics metrics) except -1
    cdef int note_wait_of(self, list headers, Metrics metrics) except -1


cpdef str plain_host(str host)


cpdef double waited_since(bytes value, double now) except? -1
