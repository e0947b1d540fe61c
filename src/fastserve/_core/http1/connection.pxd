"""The reading side of an HTTP/1 connection."""
cimport cython
from libc.stdint cimport uint64_t

from ..http.request cimport Request
from ..http.version cimport Version
from ..interfaces cimport Carrier, Handler
from ..loop.turn cimport Runnable
from ..transport.lingering cimport Lingering
from ..transport.writer cimport Writer
from ..websocket.handshake cimport Handshake
from ..worker cimport Worker
from .parser cimport Parser
from .response cimport Http1Response, Incoming


@cython.final
cdef class Http1Connection(Incoming):
    cdef Worker worker
    cdef object transport
    cdef Writer writer
    cdef Parser parser
    cdef Http1Response response  # to the request under way
    cdef int reading
    cdef bint read_paused
    cdef bint resting  # for this turn of the loop
    cdef bint telling  # the response under way is one that parse() has made, which then goes on
    cdef Lingering lingering  # None unless closed except for what the client still sends
    cdef Carrier carrier  # None once the connection has another handler, or is lost
    cdef unsigned int batch  # of the turn, in which its last response was complete
    cdef Handshake handshake  # of the request under way, if that is a WebSocket's
    cdef uint64_t content_length  # of its body, 0 if unknown
    cdef bytes tail  # what came after the request under way, from tail_at on
    cdef Py_ssize_t tail_at

    cdef int parse(self, bytes data, Py_ssize_t at) except -1
    cdef int begin(self) except -1
    cdef int begin_with_care(self, Request request, dict scope, dict environ, bytes static) except -1
    cdef int deliver(self, bytes data) except -1
    cdef int end_request(self) except -1
    cdef int wait_for_more(self) except -1
    cdef int keep_tail(self, bytes data) except -1
    cdef int pause_reading(self) except -1
    cdef int resume_reading(self) except -1
    cdef int refuse(self, int status) except -1
    cdef int report_client(self, str what) except -1
    cdef int refuse_now(self, int status) except -1
    cdef bint is_served_elsewhere(self) noexcept
    cdef int hand_over(self) except -1
    cdef bint is_held_up(self) noexcept
    cdef int leave_to(self, Handler successor) except -1
    cdef bytes leave(self)


cdef class Refusal(Runnable):
    """Refuses the rest of a request after the first step of its application."""
    cdef Http1Connection connection
    cdef int status


cdef class Http1(Version):
    pass


cdef Version HTTP1
