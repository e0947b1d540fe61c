"""What is known of one exchange beyond its response: its times, its bytes, its ids."""
cimport cython
from libc.stdint cimport uint64_t

from ..loop.clock cimport Timed
from ..worker cimport Worker
from .request cimport Request


@cython.final
cdef class Account(Timed):
    cdef Worker worker
    cdef readonly dict scope
    cdef object peer  # the client of the connection, and `address` as the log shows it
    cdef bytes address
    cdef object exchange  # whose task is looked at if it is slow; None otherwise, and once the account is closed
    # What lines show of the request, as it came: an application may change its scope.
    cdef object method
    cdef object version
    cdef object raw_path
    cdef object query_string
    cdef object fields
    cdef Py_ssize_t items  # of the scope
    cdef readonly str request_id  # None without any
    # Seconds of monotonic(), 0 for what has not happened.
    cdef double began  # the head was complete
    cdef double started  # the application was called
    cdef double first  # the response's head was given to the connection
    cdef double last  # the last byte was given, where a reading of the clock is at hand
    cdef double ended
    cdef readonly int status  # of the response, 0 for none
    cdef object headers  # of the response, as the application gave them, if the format asks for some
    cdef bint named  # the id is among them
    # Bytes.
    cdef long long body  # of the response's body
    cdef long long sent  # given to the connection, with heads and framing
    cdef long long received
    cdef long long mark  # what had been given to the connection before
    cdef bint quiet  # the client had left before its response: not logged where the line is written at its start
    cdef bint withheld  # a line of it was left out
    cdef readonly bint slow  # --log-slow has passed
    cdef readonly bint aborted  # the client did not get all of the response
    cdef bint kept  # the connection lasts
    # A WebSocket.
    cdef bint websocket
    cdef long messages_in
    cdef long messages_out
    cdef int close_code

    cdef int note(self, Request request) except -1  # from its scope if that is None
    cdef dict ids(self)
    cdef void tell(self) noexcept  # the log that it is slow
    cdef int close(self, bint aborted) except -1  # the exchange is over


# `peer` is the client of the connection, and `address` how the log shows it; `trusted`: it is a proxy that is trusted.
# `began` is when the head was complete.
cdef Account open_account(Worker worker, dict scope, object peer, bytes address, bint trusted, double began)
cdef bytes field_of(object headers, bytes name)
cpdef dict ids_of(dict scope, request_id)
# What lines show of headers and of the scope, None where it is missing.
cdef bytes text_field(dict scope, bytes name)
cdef str client_text(client)
cdef object response_field(object headers, bytes name)
cdef object user_of(bytes authorization)
cdef object trace_of(bytes traceparent)
cdef bytes without_port(bytes host)
cdef object route_of(dict scope)
# Of random numbers whose state this is, four words.
cdef unsigned long long next_random(uint64_t* state) noexcept
cdef int seed(uint64_t* state) except -1
