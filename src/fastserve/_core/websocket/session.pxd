"""The state machine of a WebSocket."""
from ..interfaces cimport Channel, Pending
from ..transport.lingering cimport Lingering
from ..transport.writer cimport Writer
from ..worker cimport Worker
from .deflate cimport Deflater, Parameters
from .exchange cimport WebSocketExchange
from .frames cimport FrameReader


cdef enum:
    OPEN
    CLOSING
    CLOSED


cdef class WebSocket(Channel):
    cdef Worker worker
    cdef object transport
    cdef Writer writer
    cdef WebSocketExchange exchange  # None once it has been told that the WebSocket is closed
    cdef FrameReader reader  # None if a library makes the frames
    cdef Deflater deflater  # None without permessage-deflate
    cdef Pending pending  # of its topics, None without any
    cdef int state
    cdef bint behind  # the application has not taken the earlier messages: what arrives is kept
    cdef bytes tail  # kept, from tail_at on
    cdef Py_ssize_t tail_at
    cdef bint read_paused
    cdef bint resting  # for this turn of the loop
    cdef bint eof_seen  # no more bytes will come
    cdef Lingering lingering  # None unless closed except for what the client still sends
    cdef int held_code  # to close with once the application has dealt with the messages before it; or 0
    cdef str held_reason
    cdef int code_ahead  # of a close frame in `tail` after messages for which there is no room; or 0
    cdef bint held_close  # it is the client's close frame, not a fault
    cdef unsigned int pings  # sent so far
    cdef bytes owed_pong  # payload of the newest ping without a pong

    cdef int open(self, Worker worker, transport, Writer writer, WebSocketExchange exchange) except -1
    cdef int parse(self, bytes data, Py_ssize_t at, bint fed) except -1
    cdef int read_on(self) except -1
    cdef bint in_frame(self) noexcept
    cdef bint expects_much(self, Py_ssize_t size) noexcept
    cdef bint full(self) noexcept
    cdef int go_on(self) except -1
    cdef int resume_reading(self) except -1
    cdef int found_ping(self, bytes payload) except -1
    cdef int found_pong(self, bytes payload) except -1
    cdef int found_close(self, int code, str reason) except -1
    cdef int look_ahead(self) except -1
    cdef Py_ssize_t payload_left(self) noexcept
    cdef int hold(self, int code, str reason, bint close) except -1
    cdef int end_held(self) except -1
    cdef int fail(self, int code, str reason) except -1
    cdef int client_ended(self) except -1
    cdef int leave(self, int code, str reason) except -1
    cdef void count(self, WebSocketExchange exchange) noexcept
    cdef int shut(self, bint linger) except -1
    cdef int trace_timeout(self) except -1
    cdef int ping(self) except -1
    cdef bytes ping_payload(self)
    cdef int detach(self) except -1
    cdef void count_received(self, Py_ssize_t size) noexcept
    cdef void count_sent(self, Py_ssize_t size) noexcept
    cdef int put_large(self, int opcode, bytes data) except -1
    cdef int put_control(self, int opcode, bytes payload) except -1
    cdef int put_close_frame(self, int code, str reason) except -1


cdef WebSocket make_websocket(
    Worker worker, object transport, Writer writer, WebSocketExchange exchange, Parameters parameters
)
