"""What trusted proxies say about a request's client and scheme."""
from ..metrics cimport Metrics
from .request cimport Request


cdef class Proxies:
    cdef object hosts
    cdef object scheme_of
    cdef dict clients  # (host, port) by the value of X-Forwarded-For
    cdef dict trusted  # by host
    # Where the options ask for more than X-Forwarded-For and X-Forwarded-Proto:
    cdef object reader  # None if they do not
    cdef tuple names  # of the headers that it reads
    cdef tuple joined  # whether the values of many are one list; else the last counts
    cdef dict said  # by the values of those headers
    cdef list recent  # (value, said), each in the slot that its value chooses
    cdef str root_path  # of the options, which a prefix replaces
    cdef bint path_is_whole  # the proxy sends the prefix as well

    cdef bint trust(self, client) except -1
    cdef int forward(self, dict scope, Request head) except -1
    cdef int forward_list(self, dict scope, list headers) except -1
    cdef int apply(self, dict scope, bytes protocol, bytes forwarded) except -1
    cdef int read(self, dict scope, list headers) except -1
    cdef tuple recall(self, bytes value)
    cdef tuple ask(self, key, tuple values)
    cdef int apply_said(self, dict scope, list headers, tuple said) except -1
    cdef int apply_prefix(self, dict scope, str prefix) except -1
    cdef tuple client_of(self, bytes forwarded)
    cdef int note_wait(self, Request head, Metrics metrics) except -1
    cdef int note_wait_of(self, list headers, Metrics metrics) except -1


cpdef str plain_host(str host)


cpdef double waited_since(bytes value, double now) except? -1
