"""The state machine of an HTTP/1 connection (RFC 9112). Only this file assigns `reading`, `writing` and `keep_alive`.

reading   INIT    between two requests
          HEAD    a head has begun to come
          BODY    the head is parsed, the body is coming
          DONE    the request under way is complete; what follows it is kept in `tail` and not parsed yet
          CLOSED  nothing is parsed any more
writing   INIT    nothing of the response has been given
          HEAD    the application has given its head, which is held: it may still be replaced by a 500
          BODY    the head is written
          DONE    the response is complete
          CLOSED  nothing is written any more

One exchange is under way at a time. Its request is complete (reading DONE) and its response is complete (writing DONE)
in either order; then advance() goes on to the next one or closes. A request that follows is parsed only then, so
responses leave in order and nothing behind a bad request is ever executed.

A fault in a body is dealt with behind the application's first step, also when it came in one packet with the head: the
outcome does not depend on how the bytes were cut.

A client that ends its side (half-close) is answered all the same; the application sees http.disconnect in receive(),
because a client that is gone altogether looks the same until something is written to it.
"""
import logging

from cpython.bytes cimport PyBytes_FromStringAndSize

from .access cimport AccessLog, address_text
from .buffer cimport Buffer
from .clock cimport KEEP_ALIVE, LINGER, REQUEST_BODY, REQUEST_HEAD, stop
from .cycle cimport Cycle, make_cycle
from .errors import ClientDisconnected
from .handler cimport Handler
from .head cimport (
    CLOSE,
    KEEP_ALIVE as KEEP_ALIVE_FIELD,
    NO_CONNECTION,
    end_head,
    has_no_body,
    plain_response,
    start_head,
)
from .llhttp cimport HTTP_HEAD
from .parser cimport BODY as FOUND_BODY, DONE as FOUND_DONE, FAULT, HEAD as FOUND_HEAD, NEED_MORE, Parser
from .request cimport Request
from .scope cimport Peers, http_scope, peers_of
from .turn cimport Runnable
from .worker cimport Worker
from .writer cimport Writer

cdef enum:
    INIT
    HEAD
    BODY
    DONE
    CLOSED

cdef enum:
    READ_AHEAD = 65536  # bytes of body, or of requests behind the one under way, beyond which reading stops
    DISCARD = 1 << 20  # bytes of a body nobody wants that are read for the sake of keeping the connection
    LARGE = 16384  # a piece of body of this size is written without a copy

cdef int WARNING = logging.WARNING
cdef int DEBUG = logging.DEBUG
cdef bytes RETRY_AFTER = b"retry-after: 1\r\n"


cdef Http1 make_http1(Worker worker, object transport, Writer writer):
    cdef Http1 self = Http1.__new__(Http1)
    self.worker = worker
    self.transport = transport
    self.writer = writer
    self.parser = Parser.__new__(Parser, worker.settings)
    worker.clock.start(self, REQUEST_HEAD)
    return self


cdef class Refusal(Runnable):
    cdef void run(self) noexcept:
        self.http1.refuse_now(self.status)


cdef class Http1(Handler):
    # Bytes from the client

    cdef int feed(self, bytes data) except -1:
        if self.reading == DONE:
            return self.keep_tail(data)
        if self.reading == CLOSED:
            return 0
        return self.parse(data, 0)

    cdef int parse(self, bytes data, Py_ssize_t at) except -1:
        cdef const char* first = data
        cdef const char* position = first + at
        cdef const char* end = first + len(data)
        cdef int found
        while True:
            found = self.parser.next(&position, end)
            if found & FOUND_HEAD:
                self.begin()
            if found & FOUND_BODY:
                self.deliver(data)
            if self.reading == CLOSED:
                return 0
            if found & FAULT:
                return self.refuse(self.parser.status)
            if found & FOUND_DONE:
                self.end_request()
                if self.reading == DONE:
                    if position < end:
                        self.tail = data
                        self.tail_at = position - first
                    return 0
            if found == NEED_MORE:
                return self.wait_for_more()

    cdef int begin(self) except -1:
        """A head is complete: make its exchange."""
        cdef Worker worker = self.worker
        cdef Request request = self.parser.request
        cdef Py_ssize_t limit = worker.settings.limit_concurrency
        stop(self)
        if self.peers is None:
            self.peers = peers_of(self.transport, worker.settings)
            self.address = address_text(self.peers.client)
        self.reading = BODY if request.has_body() else DONE
        self.writing = INIT
        self.keep_alive = request.keep_alive
        self.is_head = request.method == HTTP_HEAD
        self.is_http10 = request.minor == 0
        self.expect_continue = request.expect_continue and request.has_body()
        self.discarded = 0
        self.content_length = request.content_length
        scope = http_scope(request, self.peers, worker.settings, worker.state)
        self.parser.release_head()
        if limit and (len(worker.connections) - worker.lingering >= limit or worker.active >= limit):
            worker.report("Exceeded concurrency limit.", None, WARNING)
            self.log_access(scope, 503)
            return self.answer(503, RETRY_AFTER)
        self.cycle = make_cycle(worker, self, scope)
        self.cycle.expect_continue = self.expect_continue
        return worker.turn.submit(self.cycle)

    cdef int deliver(self, bytes data) except -1:
        cdef Py_ssize_t size = self.parser.body_size
        cdef bytes piece
        stop(self)
        if self.cycle is None:
            self.discarded += size
            if self.discarded > DISCARD:
                return self.close()
            self.worker.clock.start(self, REQUEST_BODY)
            return 0
        # A piece that is all of the read is passed on as it is.
        piece = data if size == len(data) else PyBytes_FromStringAndSize(self.parser.body_data, size)
        # What the application has not taken by the time of the next read is more than it keeps up with.
        if self.cycle.buffered > READ_AHEAD:
            self.pause_reading()
        return self.cycle.put_body(piece)

    cdef int end_request(self) except -1:
        if self.cycle is not None:
            stop(self)
            self.reading = DONE
            return self.cycle.end_body()
        if self.writing == DONE:  # the rest of a body that nobody wanted
            self.reading = INIT
        return 0

    cdef int wait_for_more(self) except -1:
        """All input is parsed and something is incomplete."""
        if self.reading == BODY:
            return 0
        if self.parser.in_head:
            if self.eof_seen:
                return self.close()
            if self.reading != HEAD:
                self.reading = HEAD
                self.worker.clock.start(self, REQUEST_HEAD)
        elif self.eof_seen:
            return self.close()
        else:
            self.worker.clock.start(self, KEEP_ALIVE)
        return 0

    cdef int keep_tail(self, bytes data) except -1:
        self.tail = data if self.tail is None else self.tail[self.tail_at:] + data
        self.tail_at = 0
        if len(self.tail) - self.tail_at > READ_AHEAD:
            self.pause_reading()
        return 0

    cdef int pause_reading(self) except -1:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        return 0

    cdef int resume_reading(self) except -1:
        """Read again, unless there is enough to go on with."""
        if self.tail is not None and len(self.tail) - self.tail_at > READ_AHEAD:
            return 0
        if self.read_paused and not self.eof_seen:
            self.read_paused = False
            self.transport.resume_reading()
        return 0

    cdef bint eof(self) except -1:
        self.eof_seen = True
        if self.cycle is not None:
            self.cycle.disconnected()
            return True
        if self.writer.committed or self.writer.paused:
            self.reading = self.writing = CLOSED
            stop(self)
            self.writer.close()
            return True
        return False

    cdef int lost(self) except -1:
        stop(self)
        self.reading = self.writing = CLOSED
        self.tail = None
        self.worker.lingering -= self.lingering
        self.parser.release_head()
        return self.detach()

    # Refusing

    cdef int refuse(self, int status) except -1:
        """The client broke the protocol: answer with `status` where an answer can still be given, and close."""
        cdef Refusal refusal
        stop(self)
        if self.reading != BODY:
            self.is_head = False  # it belongs to the request before
        self.reading = CLOSED
        self.tail = None
        self.worker.report("Invalid HTTP request received.", None, WARNING)
        self.worker.report(self.parser.reason.decode(), None, DEBUG)
        if self.cycle is None or self.cycle.started:
            return self.refuse_now(status)
        refusal = Refusal.__new__(Refusal)
        refusal.http1 = self
        refusal.status = status
        return self.worker.turn.submit(refusal)

    cdef int refuse_now(self, int status) except -1:
        if self.writing == CLOSED:
            return 0
        if self.cycle is None:
            # In the body of a request that has its response already, or in a head.
            return self.close() if self.parser.in_body else self.answer(status, b"")
        if self.writing == BODY:
            self.writer.close()
            return self.detach()
        self.detach()
        return self.answer(status, b"")

    cdef int answer(self, int status, bytes extra) except -1:
        """Send a response of the server's own, and close."""
        cdef Worker worker = self.worker
        cdef Buffer out = self.writer.output()
        self.writer.discard(self.writer.committed)
        out = self.writer.output()
        out.append_bytes(plain_response(status, worker.settings, worker.clock, extra, not self.is_head))
        self.writer.commit()
        return self.close()

    cdef int detach(self) except -1:
        """The exchange under way goes on without the connection."""
        cycle, self.cycle = self.cycle, None
        if cycle is not None:
            (<Cycle>cycle).completed()
        return 0

    cdef int close(self) except -1:
        """Close after what is written; while the client may still be sending, only the writing side at first.

        A close with unread input resets the connection, and the client would lose the answer (RFC 9112 section 9.6).
        """
        cdef bint linger = not self.eof_seen and self.reading != INIT
        if self.writing == CLOSED:
            return 0
        self.reading = self.writing = CLOSED
        self.keep_alive = False
        self.tail = None
        stop(self)
        if not linger:
            self.writer.close()
            return 0
        self.resume_reading()
        self.lingering = True
        self.worker.lingering += 1
        self.worker.clock.start(self, LINGER)
        self.writer.end()
        return 0

    cdef void expired(self, int kind) noexcept:
        if kind == LINGER and self.writer.finished():
            self.writer.abort()
        elif kind == LINGER:
            self.worker.clock.start(self, LINGER)
        elif kind == REQUEST_HEAD and self.reading == HEAD:
            self.answer(408, b"")
        else:
            self.detach()
            self.writer.discard(self.writer.committed)
            self.reading = self.writing = CLOSED
            self.writer.close()

    cdef int drain(self) except -1:
        """Close unless a request is under way: a part of a head is none."""
        if self.cycle is not None:
            return 0
        if self.reading == BODY:
            return self.close()
        stop(self)
        self.reading = self.writing = CLOSED
        self.writer.close()
        return 0

    cdef int drained(self) except -1:
        return self.cycle.writable() if self.cycle is not None else 0

    # The response

    cdef int send_continue(self) except -1:
        """RFC 9110 section 10.1.1: 100 (Continue), unless the final response went first."""
        cdef Writer writer = self.writer
        cdef bytes held
        self.expect_continue = False
        if self.writing not in (INIT, HEAD) or writer.broken:
            return 0
        held = writer.output().data[writer.committed:writer.output().size]
        writer.buffer.size = writer.committed
        writer.buffer.append(b"HTTP/1.1 100 Continue\r\n\r\n", 25)
        writer.commit()
        if held:
            writer.output().append_bytes(held)
        return 0

    cdef int want_body(self) except -1:
        if not self.eof_seen:
            self.worker.clock.start(self, REQUEST_BODY)
        return 0

    cdef int took_body(self, Py_ssize_t left) except -1:
        return self.resume_reading()

    cdef bint must_wait(self) noexcept:
        return self.writer.paused and not self.writer.broken

    cdef bint broken(self) noexcept:
        return self.writer.broken

    cdef int respond(self, status, headers) except -1:
        if self.writer.broken:
            raise ClientDisconnected("the client is gone")
        try:
            start_head(self.writer.output(), &self.facts, status, headers)
        except BaseException:
            self.writer.discard(self.writer.committed)
            raise
        self.writing = HEAD
        return 0

    cdef int body(self, bytes data, bint more) except -1:
        cdef Py_ssize_t size = len(data)
        if self.writer.broken:
            raise ClientDisconnected("the client is gone")
        if self.writing == HEAD:
            self.frame(size, more)
        elif self.remaining >= 0 and not self.no_body:
            check_length(self.remaining, size, more)
        if self.remaining >= 0:
            self.remaining -= size
        if self.no_body:
            if self.writer.buffer is not None:
                self.writer.commit()
        else:
            self.put_payload(data, more)
        return 0 if more else self.finish()

    cdef int frame(self, Py_ssize_t size, bint more) except -1:
        """Decide how the body is delimited (RFC 9112 section 6) and complete the head."""
        cdef int status = self.facts.status, connection = NO_CONNECTION
        cdef long long length = self.facts.content_length
        self.no_body = self.is_head or has_no_body(status)
        if not self.no_body and length >= 0:
            check_length(length, size, more)
        if status < 200 or status == 204:
            length = -1
        elif length < 0 and not more and status != 304 and (size or not self.is_head):
            length = size
        self.chunked = not self.no_body and length < 0 and not self.is_http10
        self.remaining = length if not self.no_body else -1
        # Without a length an HTTP/1.0 client knows the end by the close; after a 1xx it waits for a response that
        # does not come; and a client that waited for 100 in vain may send its body or not.
        if (
            not self.no_body and length < 0 and self.is_http10
            or status < 200
            or self.expect_continue
            or self.facts.close
            or self.worker.draining
        ):
            self.keep_alive = False
        if not self.keep_alive:
            connection = CLOSE
        elif self.is_http10:
            connection = KEEP_ALIVE_FIELD
        self.log_access(self.cycle.scope, status)
        end_head(
            self.writer.output(), &self.facts, self.worker.settings, self.worker.clock, length, self.chunked, connection
        )
        self.writing = BODY
        return 0

    cdef int put_payload(self, bytes data, bint more) except -1:
        cdef Writer writer = self.writer
        cdef Py_ssize_t size = len(data)
        cdef Buffer out = writer.output()
        if self.chunked and size:
            out.append_hex(size)
            out.append(b"\r\n", 2)
        if size >= LARGE:
            writer.commit_with(data)
            out = writer.output()
        elif size:
            out.append_bytes(data)
        if self.chunked:
            if size:
                out.append(b"\r\n", 2)
            if not more:
                out.append(b"0\r\n\r\n", 5)
        if out.size:
            writer.commit()
        else:
            writer.drop_front(0)
        return 0

    cdef int finish(self) except -1:
        """The application has sent the last of its response."""
        self.writing = DONE
        self.detach()
        return self.advance()

    cdef int advance(self) except -1:
        """The response is complete: go on to the next request, or close."""
        cdef bytes data
        if not self.keep_alive or self.worker.draining:
            return self.close()
        if self.reading == BODY:
            if self.eof_seen or self.content_length > self.parser.body_total + DISCARD:
                return self.close()
            self.resume_reading()
            self.worker.clock.start(self, REQUEST_BODY)
            return 0
        self.reading = INIT
        if self.tail is None:
            self.wait_for_more()
        else:
            data, self.tail = self.tail, None
            self.parse(data, self.tail_at)
        return 0 if self.reading == CLOSED else self.resume_reading()

    cdef int abandon(self) except -1:
        """The application will not complete its response: a 500 where nothing of it was written, else break off."""
        scope = self.cycle.scope if self.cycle is not None else None
        self.detach()
        if self.writing == INIT or self.writing == HEAD:
            if self.eof_seen and self.reading == BODY:
                return self.answer(400, b"")  # the client never sent all of its request (RFC 9112 section 8)
            if scope is not None:
                self.log_access(scope, 500)
            return self.answer(500, b"")
        self.reading = self.writing = CLOSED
        self.writer.close()
        return 0

    cdef int log_access(self, dict scope, int status) except -1:
        cdef AccessLog access = self.worker.access
        if access is not None:
            try:
                access.record(scope, self.peers.client, self.address, status)
            except Exception as exception:
                self.worker.report("Exception in the access log", exception)
            self.worker.turn.hold_last()
        return 0


cdef int check_length(long long remaining, Py_ssize_t size, bint more) except -1:
    if size > remaining:
        raise RuntimeError("Response content longer than Content-Length")
    if not more and size < remaining:
        raise RuntimeError("Response content shorter than Content-Length")
    return 0
