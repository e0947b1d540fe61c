"""The state machine of an HTTP/1 connection."""
from libc.stdint cimport uint64_t

from ..http.exchange cimport HttpExchange
from ..http.scope cimport Peers
from ..interfaces cimport Carrier, Handler
from ..loop.turn cimport Flushable, Runnable
from ..transport.lingering cimport Lingering
from ..transport.sendfile cimport FileSender
from ..transport.writer cimport Writer
from ..websocket.handshake cimport Handshake
from ..worker cimport Worker
from .body_framing cimport Framing
from .parser cimport Parser


cdef class Http1Connection(Handler):
    cdef Worker worker
    cdef object transport
    cdef Writer writer
    cdef Parser parser
    cdef int reading
    cdef int writing
    cdef bint keep_alive  # the connection lasts longer than the exchange under way
    cdef bint eof_seen  # the client has sent its last byte
    cdef bint read_paused
    cdef bint resting  # for this turn of the loop
    cdef Lingering lingering  # closed, but for what the client still sends; else None
    cdef Peers peers  # None before the first request
    cdef bytes address  # of the client, as the access log shows it
    cdef Carrier carrier  # None once the connection has another handler, or is lost
    cdef Handshake handshake  # of the request under way, where that is a WebSocket's
    cdef HttpExchange exchange  # the exchange under way, None between two and once its response is complete
    cdef bytes tail  # what came behind the request under way, from tail_at on
    cdef Py_ssize_t tail_at
    # The request under way.
    cdef bint is_head  # its method is HEAD
    cdef bint is_http10
    cdef bint is_websocket  # it asks for one, in a way that is not refused
    cdef uint64_t content_length  # of its body, 0 where that is not known
    cdef bint expect_continue  # the client waits for 100 (Continue)
    cdef bint te_trailers  # the client takes trailers
    # Its response.
    cdef Framing framing
    cdef HeldHead held  # what lets its head go without a body, None where none ever had to wait
    cdef FileSender files  # None until a file is sent

    cdef int parse(self, bytes data, Py_ssize_t at) except -1
    cdef int begin(self) except -1
    cdef int deliver(self, bytes data) except -1
    cdef int end_request(self) except -1
    cdef int wait_for_more(self) except -1
    cdef int keep_tail(self, bytes data) except -1
    cdef int pause_reading(self) except -1
    cdef int resume_reading(self) except -1
    cdef int refuse(self, int status) except -1
    cdef int report_client(self, str what) except -1
    cdef int refuse_now(self, int status) except -1
    cdef int interim(self, bytes head) except -1
    cdef int announce(self, long long size, bint more) except -1
    cdef int frame(self, long long size, bint more) except -1
    cdef void send_head(self) noexcept
    cdef bint may_be_discarded(self) noexcept
    cdef int finish(self) except -1
    cdef int advance(self) except -1
    cdef int answer(self, int status, bytes extra) except -1
    cdef int detach(self) except -1
    cdef int orphan(self) except -1
    cdef bint is_served_elsewhere(self) noexcept
    cdef int hand_over(self) except -1
    cdef int leave_to(self, Handler successor) except -1
    cdef bytes leave(self)
    cdef int close(self) except -1
    cdef int break_off(self) except -1


cdef class HeldHead(Flushable):
    """Lets the head of a response go that its application does not send a body for."""
    cdef Http1Connection http1


cdef class Refusal(Runnable):
    """Refuses the rest of a request behind the first step of its application."""
    cdef Http1Connection http1
    cdef int status


cdef Http1Connection make_http1_connection(Worker worker, object transport, Writer writer, Carrier carrier)
