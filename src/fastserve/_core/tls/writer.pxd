"""The write path of a connection with TLS of the core's own."""
from ..transport.tls_writer cimport TlsWriter
from .transport cimport TlsTransport


cdef class TlsSocketWriter(TlsWriter):
    cdef TlsTransport tls
