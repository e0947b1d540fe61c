"""The part of a response that is the same in every version of HTTP."""
from ..interfaces cimport Carrier, Stream
from ..worker cimport Worker
from .account cimport Account
from .exchange cimport HttpExchange
from .request cimport Request
from .response_head cimport HeadFacts
from .scope cimport Peers


cdef struct Extent:
    # How much body a response has.
    HeadFacts facts
    bint no_body  # the application's body is not sent
    long long remaining  # bytes of Content-Length still to come, -1 without Content-Length


cdef class Response(Stream):
    cdef Worker worker
    cdef HttpExchange exchange  # the one under way; None between two, and once the response is complete
    cdef Peers peers  # None before the first request
    cdef bytes address  # of the client, as the access log shows it
    cdef Account account  # of the exchange under way, if it has one; of a WebSocket the exchange keeps it
    cdef bint is_head  # the request's method is HEAD
    cdef bint is_websocket  # it is the handshake of a WebSocket, and a valid one
    cdef Extent extent
    cdef double began  # when the head was complete of a request that is not counted yet, else 0
    cdef int key  # what it is counted by, but for the status

    cdef void begin_counting(self, int key) noexcept
    cdef void count_as(self, int status, bint held) noexcept
    cdef void count_abandoned(self, int status) noexcept
    cdef int tell_health(self) except -1
    cdef long long decide_length(self, long long size, bint more) except -2
    cdef int count(self, long long size, bint more) except -1
    cdef int log(self, dict scope, int status) except -1
    cdef int log_head(self) except -1
    cdef int open_account(self, dict scope, Request request) except -1  # without a Request of HTTP/2
    cdef object noted(self, object headers)  # the response's, as the account keeps them
    cdef bytes id_line(self)
    cdef int count_body(self, long long size) except -1
    cdef int close_account(self, bint aborted) except -1
    cdef int orphan(self) except -1
    cdef int detach(self) except -1

    # What a version of HTTP implements
    cdef long long bytes_given(self) noexcept  # to the connection, of this response and those before it
    cdef long long bytes_received(self) noexcept  # of the request
    cdef bint is_kept(self) noexcept  # the connection lasts longer than the response
    cdef bint head_is_given(self) noexcept  # by the application, but not sent yet
    cdef bint head_has_left(self) noexcept
    cdef bint client_has_ended(self) noexcept
    cdef bint request_is_cut(self) noexcept  # the client ended its side before the end of the body
    cdef int answer(self, int status, bytes extra) except -1  # respond with one of the server's own
    cdef int break_off(self) except -1  # at any point of the response


cdef enum:
    CLIENT_LEFT = 499  # in the metrics, the status of a request whose client has left before its response was complete


cdef enum:
    TO_WAIT = 1  # not a status: the application is called as soon as one of the others has ended

# What to do with a request on the connection `carrier`: both return the status of a refusal, TO_WAIT, or 0 to serve it.
# Call when_crowded() if worker.active >= worker.room. Call refused(), which includes that, also if the request is for
# https or hosts are limited.
cdef int refused(Worker worker, Request request, Peers peers, dict scope, Carrier carrier) except -1
cdef int when_crowded(Worker worker, Carrier carrier) except -1
cdef bint is_misdirected(Worker worker, dict scope) except -1
cdef bytes fields_of_refusal(int status)
