"""What a connection can begin with."""
from ..interfaces cimport Carrier, Handler
from ..transport.writer cimport Writer
from ..worker cimport Worker


cdef class Version:
    """A version of HTTP."""
    cdef str alpn  # its name in TLS
    cdef bytes preface  # what its clients send first; empty if that is a request

    cdef Handler begin(self, Worker worker, object transport, Writer writer, Carrier carrier)
