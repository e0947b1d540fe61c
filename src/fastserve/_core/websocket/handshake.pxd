"""The opening handshake of a WebSocket."""
from ..http.request cimport Request
from ..http.scope cimport Peers
from ..interfaces cimport Channel
from ..transport.writer cimport Writer
from ..worker cimport Worker
from .exchange cimport WebSocketExchange


cdef class Handshake:
    cdef Worker worker
    cdef int status  # of the response to an invalid handshake, else 0
    cdef bytes fields  # header lines of that response
    cdef bytes head  # the request, if a protocol outside the core responds to it, else None
    cdef bytes key
    cdef list subprotocols  # that the client offers
    cdef list extensions  # values of Sec-WebSocket-Extensions
    cdef object framing  # of the library that makes the frames, None for the core's own
    cdef object parameters  # deflate's, None without it
    cdef bytes accepted_extensions  # None for none

    cdef bint is_served_elsewhere(self) noexcept  # by a protocol outside the core
    cdef int read(self, Request request) except -1
    cdef int read_fields(self, list headers) except -1
    cdef bint offer(self, bytes value) except -1
    cdef int negotiate(self) except -1
    cdef int refuse(self, int status, bytes fields) except -1
    cdef dict scope(self, Request request, Peers peers)
    cdef Channel accept(self, WebSocketExchange exchange, transport, Writer writer, subprotocol, headers)
    cdef list check(self, subprotocol, headers)
    cdef int put_head(self, Writer writer, subprotocol, list headers) except -1
    # The same in two steps, where the response is not HTTP/1's; `transport` is what pauses and resumes reading.
    cdef list fields_of_acceptance(self, subprotocol, headers)  # raises TypeError, ValueError
    cdef Channel open(self, WebSocketExchange exchange, transport, Writer writer)


cdef Handshake read_handshake(Request request, Worker worker)
cdef Handshake read_extended_connect(list headers, Worker worker)
cdef bint serves_extended_connect(Worker worker) noexcept
