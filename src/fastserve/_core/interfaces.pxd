"""The seams: what a connection asks of its handler, an exchange of its stream, and both of an exchange."""
from .loop.clock cimport Timed
from .loop.task cimport Owner
from .loop.turn cimport Flushable


cdef class Exchange(Owner):
    """One request and its response in the terms of the application."""
    cdef int put_body(self, bytes data) except -1  # a piece of the request's body
    cdef int end_body(self) except -1  # there is no more of it
    cdef int disconnected(self) except -1  # the client is gone, or has ended its side
    cdef int completed(self) except -1  # the response is complete, or will not be completed by the application
    cdef int writable(self) except -1  # send() need not wait any longer
    cdef int stopping(self) except -1  # the server stops


cdef class DirectCall:
    """A call of an application that has no task yet."""
    cdef int begun(self) except -1  # the exchange knows its call
    cdef int noticed(self) except -1  # a thread has reported, see Reports
    cdef int to_task(self) except -1  # go on in a task, in which applications wait and can be cancelled and awaited


cdef class DirectApplication:
    """An application whose calls the core can serve without a task as long as they are simple."""
    # What it makes of the head of a request over HTTP/1 in place of a scope, or None; an http.Request and its http.Peers.
    cdef dict environ_of(self, object head, object peers)
    cdef DirectCall begin(self, Exchange exchange)


cdef class Shared:
    """A message for many clients, which makes each of its encodings once."""
    cdef readonly object data  # a str or bytes
    cdef readonly Py_ssize_t size  # of it in bytes
    cdef bytes frame(self, int bits)  # of a WebSocket, deflated with a window of that many bits; 0 for plain
    cdef bytes stream_event(self, bint chunked)  # of an event stream, as a chunk or bare


cdef class Pending(Flushable):
    """What a connection has yet to write of the topics that it is subscribed to."""
    # Put it into the writer, without a commit: as far as the client reads, or all of it.
    cdef int pour(self, bint everything) except -1
    cdef int ended(self) noexcept  # nothing can be written any more


cdef class Subscribing:
    """What an application subscribes with: to one of the two."""
    cdef int begin(self, object worker, Stream stream, Channel channel) except -1


cdef class Stream:
    """Where an exchange puts its response. The methods are in the order of their use."""
    cdef int send_continue(self) except -1  # the application asks for a body that the client may hold back
    cdef int want_body(self) except -1  # the application waits for the request's body
    cdef int took_body(self, Py_ssize_t left) except -1  # it took all but `left` bytes of what had arrived
    cdef int respond(self, status, headers) except -1  # raises TypeError, ValueError; nothing is written yet
    # The same with checked fields (http/response_head) and Content-Length, -1 if there is none.
    cdef int respond_checked(self, int status, list fields, Py_ssize_t length) except -1
    cdef int hold_head(self) except -1  # the application may suspend with only the head sent: do not hold that for long
    cdef int early_hint(self, links) except -1  # raises TypeError, ValueError
    cdef int body(self, bytes data, bint more) except -1  # raises RuntimeError, ClientDisconnected
    cdef int begin_file(self, long long size, bint more) except -1  # `size` bytes of body follow; raises as body()
    cdef long long send_file(self, int file, long long offset, long long size) except -2  # bytes taken; -1: read it
    cdef int put_raw(self, bytes data) except -1  # the bytes of a file, read
    cdef int end_file(self, long long size, bint more) except -1  # all its bytes are sent
    cdef int trailers(self, list fields) except -1  # after a body with more to come; raises TypeError, ValueError
    cdef int accept(self, subprotocol, headers) except -1  # become a WebSocket; raises as trailers() and body()
    cdef bint must_wait(self) noexcept  # the client does not read: send() must wait for writable()
    cdef bint broken(self) noexcept  # writing has failed
    cdef int abandon(self) except -1  # the application will not complete it: send a 500, or break off
    cdef bint resume(self) except -1  # its exchange has waited to be called: read on; false if the client has left
    # Topics. What is pending goes before what the application sends after it; returns what was attached first.
    cdef Pending attach(self, Pending pending)  # raises RuntimeError
    # After what is put already; commit_shared() lets it leave. `alone`: that is next, and so it may leave at once.
    cdef int put_shared(self, Shared message, bint alone) except -1
    cdef int commit_shared(self) except -1  # at once
    cdef void fetch_shared(self) noexcept  # have the memory fetched that these will use
    cdef int cut(self) except -1  # the client does not keep up: break off at once


cdef class Handler(Timed):
    """What a connection does with bytes, while it is the connection's handler."""
    cdef int feed(self, bytes data) except -1
    cdef bint eof(self) except -1  # the client sent its last byte; returns true to go on writing
    cdef int rest(self) except -1  # read no more until rested() is called; returns 0 if nothing is read anyway
    cdef int rested(self) except -1
    cdef int lost(self) except -1  # the connection is gone
    cdef int drain(self) except -1  # close as soon as nothing is under way
    cdef int end_streams(self, list tasks) except -1  # break off responses without a declared end; add their tasks
    cdef int drained(self) except -1  # the kernel has taken all that was written
    cdef bint ends_connection(self) noexcept  # the request under way is the last that the client sends


cdef class Channel(Handler):
    """What the exchange of an open WebSocket has in place of a stream: the connection's handler."""
    cdef bint must_wait(self) noexcept  # as a stream's
    cdef bint broken(self) noexcept
    cdef int send_text(self, str text) except -1  # raises ClientDisconnected, as does the next
    cdef int send_bytes(self, bytes data) except -1
    cdef int close_with(self, int code, str reason) except -1  # raises ValueError for an invalid code or reason
    cdef int taken(self) except -1  # the application has taken a message
    cdef int wanted(self) except -1  # it took all of them and asks for the next
    # Topics. What is pending goes before what the application sends after it; returns what was attached first.
    cdef Pending attach(self, Pending pending)
    # After what is put already; commit_shared() lets it leave. `alone`: that is next, and so it may leave at once.
    cdef int put_shared(self, Shared message, bint alone) except -1
    cdef int commit_shared(self) except -1  # at once
    cdef void fetch_shared(self) noexcept  # have the memory fetched that these will use
    cdef int cut(self) except -1  # the client does not keep up: close with 1013


cdef class Carrier:
    """What a handler asks of its connection."""
    cdef readonly bint spare  # accepted beyond the limit of connections, for the sake of health checks
    cdef int switch_to(self, Handler handler, bytes rest) except -1  # `rest` is what the old one has not parsed
    cdef int count_in(self) except -1  # it is spare no longer
    cdef int trace_upgrade(self, bint elsewhere) except -1  # a handshake has come, to be served here or `elsewhere`
    cdef int hand_over(self, make_protocol, bytes received) except -1  # to an asyncio.Protocol, with all unparsed bytes
