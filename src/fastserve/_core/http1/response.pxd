"""The response of an HTTP/1 connection to the request under way."""
cimport cython

from ..http.request cimport Request
from ..http.response cimport Response
from ..interfaces cimport Handler, Pending
from ..loop.turn cimport Flushable
from ..transport.sendfile cimport FileSender
from ..transport.writer cimport Writer
from ..worker cimport Worker


cdef class Incoming(Handler):
    """What a response asks of its connection, which reads."""
    cdef bint eof_seen  # the client has sent its last byte
    cdef long long taken  # bytes of the request under way, as they came

    cdef bint expects_body(self) noexcept  # more of the request under way is to come
    cdef bint body_may_be_discarded(self) noexcept  # in order to keep the connection
    cdef int want_body(self) except -1  # as of a stream
    cdef int took_body(self, Py_ssize_t left) except -1
    cdef bint resume(self) except -1  # as of a stream
    cdef int accept(self, subprotocol, headers) except -1
    cdef int answered(self) except -1  # the response is complete: go on to the next request, or close
    cdef int close(self) except -1  # after what is written
    cdef int break_off(self) except -1  # the same, at any point of a response


@cython.final
cdef class Http1Response(Response):
    cdef Writer writer
    cdef Incoming connection  # None once it has another handler, or is lost
    cdef int writing
    cdef bint keep_alive  # the connection lasts longer than this response
    # The request.
    cdef bint is_last  # the client has asked for the close, and so sends no other request
    cdef bint is_http10
    cdef bint expect_continue  # the client waits for 100 (Continue)
    cdef bint te_trailers  # the client takes trailers
    # The response.
    cdef bint chunked
    cdef HeldHead held  # sends its head without a body; None if no head ever waited
    cdef FileSender files  # None until a file is sent
    cdef Pending pending  # of topics, None without any

    # What the connection asks
    cdef void begin(self, Request request) noexcept
    cdef void is_handshake(self, bint accepted) noexcept
    cdef bint is_complete(self) noexcept
    cdef bint is_closed(self) noexcept
    cdef bint is_endless(self) noexcept
    cdef bint is_silent(self) noexcept
    cdef int end(self) except -1
    cdef int leave(self) except -1
    cdef int lost(self) except -1
    cdef int drained(self) except -1

    cdef int release(self) except -1
    cdef int interim(self, bytes head) except -1
    cdef int announce(self, long long size, bint more) except -1
    cdef int frame(self, long long size, bint more) except -1
    cdef void send_head(self) noexcept
    cdef int finish(self) except -1


@cython.final
cdef class HeldHead(Flushable):
    """Sends the head of a response whose application does not send a body."""
    cdef Http1Response response


cdef Http1Response make_http1_response(Worker worker, Writer writer, Incoming connection)
