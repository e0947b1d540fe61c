"""A response in what does not depend on the version of HTTP that carries it."""
from ..interfaces cimport Stream
from ..worker cimport Worker
from .exchange cimport HttpExchange
from .request cimport Request
from .response_head cimport HeadFacts
from .scope cimport Peers


cdef struct Extent:
    # How much body a response has.
    HeadFacts facts
    bint no_body  # whatever body the application sends is left out
    long long remaining  # bytes of Content-Length still to come, -1 where there is none


cdef class Response(Stream):
    cdef Worker worker
    cdef HttpExchange exchange  # the one under way, None between two and once its response is complete
    cdef Peers peers  # None before the first request
    cdef bytes address  # of the client, as the access log shows it
    cdef bint is_head  # the request's method is HEAD
    cdef bint is_websocket  # it asks for a WebSocket, in a way that is not refused
    cdef Extent extent

    cdef long long decide_length(self, long long size, bint more) except -2
    cdef int count(self, long long size, bint more) except -1
    cdef int log(self, dict scope, int status) except -1
    cdef int log_head(self) except -1
    cdef int orphan(self) except -1
    cdef int detach(self) except -1

    # Of its version
    cdef bint head_is_given(self) noexcept  # by the application, and has not left
    cdef bint head_has_left(self) noexcept
    cdef bint client_has_ended(self) noexcept
    cdef bint request_is_cut(self) noexcept  # its client has ended before the end of the body
    cdef int answer(self, int status, bytes extra) except -1  # with a response of the server's own
    cdef int break_off(self) except -1  # wherever in the response that is


cdef int refused(Worker worker, Request request, Peers peers) except -1
cdef bytes fields_of_refusal(int status)
