"""A stream: one request and its response (RFC 9113 section 5.1)."""
cimport cython
from libc.stdint cimport uint32_t

from ..http.exchange cimport HttpExchange
from ..interfaces cimport Handler, Pending
from ..loop.clock cimport Timed
from ..loop.turn cimport Flushable, Runnable
from ..transport.writer cimport Writer
from .flow cimport Flow
from .websocket_writer cimport Bearer, WebSocketWriter


cdef class StreamCarrier(Handler):
    """What a stream asks of its connection."""
    cdef Writer writer
    cdef Flow flow
    cdef bint eof_seen  # the client has sent its last byte

    cdef int want_body(self, Http2Stream stream) except -1  # as a stream's
    cdef int took_body(self, Http2Stream stream, Py_ssize_t left) except -1
    cdef int took_frames(self, Http2Stream stream) except -1  # all that has come for a WebSocket is taken
    cdef bint holds_back(self, Http2Stream stream) except -1  # its application is started later
    cdef int sent(self, Http2Stream stream) except -1  # all of its response, END_STREAM included
    cdef int reset(self, Http2Stream stream, int error) except -1
    cdef int cut(self, Http2Stream stream) except -1  # reset it as the server likes, which is not held against the client
    cdef int overdue(self, Http2Stream stream) except -1  # the client neither takes nor sends what it should


@cython.final
cdef class Http2Stream(Bearer):
    cdef StreamCarrier connection  # None once the stream is closed
    cdef Flow flow  # the connection's
    cdef int writing
    # The request.
    cdef bint te_trailers  # the client takes trailers
    cdef bint expect_continue
    cdef long long content_length  # -1 where that is not known
    cdef long long received  # bytes of its body
    cdef bytes gathered  # a part of it that is coming in several frames of one read, or None
    cdef Py_ssize_t filled  # bytes of that
    cdef long long given  # bytes of frames to the client; of the response's head alone if the stream has no account
    cdef double discarded_until  # by the clock, once the response is complete
    # What the client may send of it.
    cdef long long credit
    cdef long long target  # what it is to have while the application takes what comes
    cdef long long untaken  # bytes that the application has not taken
    cdef long long promised  # bytes of these two beyond the first window
    # The response.
    cdef list fields  # of its head, while that is held
    cdef HeldHead held  # these are None where nothing ever had to wait
    cdef BodyWait body_wait
    cdef SendWait send_wait
    cdef SmallPiece small_piece
    cdef Pending pending  # of topics, None without any
    cdef WebSocketWriter websocket  # None for any other request

    cdef int start(self) except -1
    cdef bint is_closed(self) noexcept
    cdef bint is_endless(self) noexcept
    cdef bint is_complete(self) noexcept
    cdef bint takes_data(self) noexcept
    cdef bint expects_much(self) noexcept
    cdef HttpExchange application(self)
    cdef int drain(self) except -1
    cdef int client_ended(self) except -1
    cdef int receive(self, bytes data) except -1
    cdef int gather(self, const char* data, Py_ssize_t size, Py_ssize_t following) except -1
    cdef int receive_gathered(self) except -1
    cdef int end_request(self) except -1
    cdef void wait_for_body(self) noexcept
    cdef int close(self) except -1
    cdef int interim(self, int status, list fields) except -1
    cdef int announce(self, long long size, bint more, bint ends) except -1
    cdef int put_head(self, long long size, bint more, bint ends) except -1
    cdef void send_head(self) noexcept
    cdef void wait(self, int kind) noexcept
    cdef bint is_sent(self) noexcept
    cdef int make_send_wait(self) except -1
    cdef void begin_discarding(self, double seconds) noexcept
    cdef void discard(self) noexcept
    cdef void hurry(self, double seconds) noexcept
    cdef int send(self, bytes data, bint last) except -1
    cdef int watch_unsent(self) except -1
    cdef int end_unseen(self) except -1
    cdef bint begins_stream(self) noexcept
    cdef int drained(self) except -1
    cdef int release(self) except -1


@cython.final
cdef class Start(Runnable):
    """Starts the application of a stream, unless that is reset first."""
    cdef Http2Stream stream


@cython.final
cdef class HeldHead(Flushable):
    """Lets the head of a response go that its application does not send a body for."""
    cdef Http2Stream stream


@cython.final
cdef class BodyWait(Timed):
    """Ends a stream whose application waits for a body that does not come."""
    cdef Http2Stream stream


@cython.final
cdef class SmallPiece(Timed):
    """Lets a small piece go that has waited for a larger window."""
    cdef Http2Stream stream


@cython.final
cdef class SendWait(Timed):
    """Ends a stream whose client does not take its response, or has it all and still sends."""
    cdef Http2Stream stream


cdef Http2Stream make_http2_stream(StreamCarrier connection, uint32_t id)
