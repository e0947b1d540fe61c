"""What a WebSocket has of a stream (RFC 8441), in place of a connection."""
cimport cython

from ..interfaces cimport Channel
from ..transport.writer cimport Writer
from ..websocket.exchange cimport WebSocketExchange
from ..websocket.handshake cimport Handshake
from ..worker cimport Worker
from .flow cimport Flow, SendingStream


cdef class Bearer(SendingStream):
    """What a WebSocket's writer asks of its stream."""
    cdef bint ended  # the client sends no more on it

    cdef int send_frames(self, const char* data, Py_ssize_t size, bint last) except -1  # bytes that are not kept
    cdef int send_large(self, bytes data) except -1  # one large one, which is
    cdef int took_frames(self) except -1  # all that has come is taken
    cdef void limit_unsent(self) noexcept
    cdef int finish(self) except -1  # END_STREAM is sent, or follows what waits
    cdef int fail(self, bint ours) except -1  # reset it


@cython.final
cdef class WebSocketWriter(Writer):
    cdef Bearer stream  # None once that is closed
    cdef Flow flow  # the connection's
    cdef Handshake handshake
    cdef Channel channel  # the WebSocket, None before it is accepted
    cdef WebSocketExchange exchange  # the same
    cdef bint ended  # END_STREAM is given to the stream
    cdef bint held  # what comes is kept: the WebSocket is not open yet, or has paused reading
    cdef bytearray kept  # None for nothing
    cdef Py_ssize_t shown  # bytes that the WebSocket has nevertheless got since then
    cdef bint has_closed  # a close frame seems to be among them

    cdef int open(self, WebSocketExchange exchange) except -1
    cdef bint is_kept(self, bytes data) except -1
    cdef int feed(self, bytes data) except -1
    cdef int read_on(self) except -1
    cdef int eof(self) except -1
    cdef int drain(self) except -1
    cdef int drained(self) except -1
    cdef int leave(self) except -1
    cdef int failed(self, exception) except -1


cdef WebSocketWriter make_websocket_writer(Bearer stream, Flow flow, Handshake handshake, Worker worker)
