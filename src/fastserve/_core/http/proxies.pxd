"""What trusted proxies say about a request's client and scheme."""
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


cpdef str plain_host(str host)
