# setup.py: cold
"""The versions of HTTP, as the connection knows them: a name in TLS, the first bytes of a client, and a handler."""
from ..interfaces cimport Carrier, Handler
from ..transport.writer cimport Writer
from ..worker cimport Worker


cdef class Version:
    cdef Handler begin(self, Worker worker, object transport, Writer writer, Carrier carrier):
        return None
