"""What connections begin with whose proxy speaks the PROXY protocol."""
from .worker cimport Worker


cdef class Preface:
    cdef object __weakref__
    cdef readonly object expected
    cdef object factory
    cdef Worker worker
    cdef readonly object transport
    cdef readonly bytes received
    cdef public bint encrypting  # what comes is for TLS, or for the protocol that follows
    cdef readonly bint ended
    cdef bint eof
    cdef bint beyond  # the limit of connections
    cdef bint early  # the loop has not begun to read

    cdef int read_first(self, int fd) except -1
