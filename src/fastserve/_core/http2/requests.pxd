"""The requests of a connection, as its streams are opened."""
cimport cython

from ..http.scope cimport Peers
from ..interfaces cimport Carrier
from ..transport.writer cimport Writer
from ..worker cimport Worker
from .fields cimport RequestFields
from .flow cimport Flow
from .stream cimport Http2Stream


@cython.final
cdef class Requests:
    cdef Worker worker
    cdef object transport
    cdef Writer writer
    cdef Carrier carrier  # None once the connection is lost
    cdef Flow flow
    cdef RequestFields fields  # of the request that is being read
    cdef Peers peers  # None before the first request
    cdef bytes address  # of the client, as the access log shows it

    cdef bint begin(self, Http2Stream stream, Py_ssize_t size) except -1
    cdef bint refuse_misdirected(self, Http2Stream stream, dict scope) except -1
    cdef bint begin_crowded(self, Http2Stream stream, dict scope, bytes static) except -1
    cdef int note(self, Http2Stream stream, dict scope, Py_ssize_t size) except -1
    cdef bint begin_websocket(self, Http2Stream stream, Py_ssize_t size) except -1
    cdef int status_of_refusal(self, Http2Stream stream, str method) except -1
    cdef int report_client(self, const char* reason) except -1
    cdef int lost(self) except -1


cdef Requests make_requests(Worker worker, object transport, Writer writer, Carrier carrier, Flow flow)
