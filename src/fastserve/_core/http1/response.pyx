"""The response of an HTTP/1 connection to the request under way, one object for all of a connection (RFC 9112).

Only this file assigns `writing` and `keep_alive`.

writing   INIT    nothing of the response has been given
          HEAD    the application has given its head, which is held: it may still be replaced by a 500. It leaves with the
                  first piece of body. Without one it leaves when the application has suspended, where it announces a
                  stream, else after a quarter of a second
          BODY    the head is written
          DONE    the response is complete
          CLOSED  nothing is written any more

The connection reads, and knows about the client and its request: see http1/connection.pyx.
"""
from ..errors import ClientDisconnected
from ..http.exchange cimport HttpExchange
from ..http.request cimport Request
from ..http.response cimport CLIENT_LEFT, Response
from ..http.response_head cimport CLOSE, KEEP_ALIVE as KEEP_ALIVE_FIELD, NO_CONNECTION
from ..http.response_head cimport begins_stream, early_hints, end_head, pairs_of, plain_response, reason_phrase
from ..http.response_head cimport start_checked_head, start_head
from ..interfaces cimport Handler, Pending, Shared
from ..llhttp cimport HTTP_HEAD
from ..loop.clock cimport HELD_HEAD, stop
from ..loop.turn cimport Flushable
from ..memory.buffer cimport Buffer
from ..metrics cimport BY_ERROR
from ..python cimport PyObject
from ..transport.sendfile cimport FileSender
from ..transport.tls_writer cimport TlsWriter
from ..transport.writer cimport Writer, set_why
from ..worker cimport Worker
from .body_framing cimport LAST_CHUNK, close_chunk, end_with_trailers, open_chunk, put_piece

cdef extern from "memory/prefetch.h":
    void fastserve_prefetch_all(const void* object) nogil

cdef enum:
    INIT
    HEAD
    BODY
    DONE
    CLOSED

cdef enum:
    LARGE = 16384  # a message of this size is written without a copy


cdef Http1Response make_http1_response(Worker worker, Writer writer, Incoming connection):
    cdef Http1Response self = Http1Response.__new__(Http1Response)
    self.worker = worker
    self.writer = writer
    self.connection = connection
    return self


cdef class Incoming(Handler):
    cdef bint expects_body(self) noexcept:
        return False

    cdef bint body_may_be_discarded(self) noexcept:
        return False

    cdef int want_body(self) except -1:
        return 0

    cdef int took_body(self, Py_ssize_t left) except -1:
        return 0

    cdef bint resume(self) except -1:
        return True

    cdef int accept(self, subprotocol, headers) except -1:
        return 0

    cdef int answered(self) except -1:
        return 0

    cdef int close(self) except -1:
        return 0

    cdef int break_off(self) except -1:
        return 0


cdef class HeldHead(Flushable):
    cdef void flush(self) noexcept:
        self.response.send_head()

    cdef void expired(self, int kind) noexcept:
        self.response.send_head()


cdef class Http1Response(Response):
    # What the connection asks

    cdef void begin(self, Request request) noexcept:
        """Begin the response to a request."""
        self.writing = INIT
        self.keep_alive = request.keep_alive
        self.is_last = not request.keep_alive and request.minor == 1
        self.is_head = request.method == HTTP_HEAD
        self.is_http10 = request.minor == 0
        self.is_websocket = False
        self.expect_continue = request.expect_continue and request.has_body()
        self.te_trailers = request.te_trailers

    cdef void is_handshake(self, bint valid) noexcept:
        """Note that the request is the handshake of a WebSocket, valid or to be refused."""
        self.keep_alive = False
        self.is_websocket = valid

    cdef bint head_is_given(self) noexcept:
        return self.writing == HEAD

    cdef bint head_has_left(self) noexcept:
        return self.writing > HEAD

    cdef bint client_has_ended(self) noexcept:
        return self.connection is not None and self.connection.eof_seen

    cdef bint request_is_cut(self) noexcept:
        return self.client_has_ended() and self.connection.expects_body()

    cdef long long bytes_given(self) noexcept:
        return self.writer.given()

    cdef long long bytes_received(self) noexcept:
        return 0 if self.connection is None else self.connection.taken

    cdef bint is_kept(self) noexcept:
        return self.keep_alive and not self.client_has_ended()

    cdef bint is_complete(self) noexcept:
        return self.writing == DONE

    cdef bint is_closed(self) noexcept:
        return self.writing == CLOSED

    cdef bint is_endless(self) noexcept:
        """Return whether it has begun and declares no end."""
        return self.writing == BODY and self.extent.remaining < 0

    cdef bint is_silent(self) noexcept:
        """Return whether no more of it will be written, although the application has not completed it."""
        return self.writing == BODY and self.extent.no_body

    cdef int answer(self, int status, bytes extra) except -1:
        """Send a response of the server's own, and close."""
        cdef Worker worker = self.worker
        cdef Buffer out
        cdef bint unread = self.client_has_ended()
        cdef bint encrypted = isinstance(self.writer, TlsWriter)  # there may be no peers yet
        self.count_as(status, False)
        self.writer.discard(self.writer.committed)
        out = self.writer.output()
        if self.account is not None:
            extra += self.id_line()
        out.append_bytes(plain_response(status, worker.settings, worker.clock, extra, not self.is_head, encrypted))
        if self.account is not None:
            if not unread or self.request_is_cut():  # else the client left, which is not the application's failure
                self.account.status = status
            self.account.body = 0 if self.is_head else len(reason_phrase(status))
            self.keep_alive = False
            self.close_account(unread)
        self.writer.commit()
        return self.connection.close()

    cdef int break_off(self) except -1:
        if not self.client_has_ended():
            set_why(self.writer, BY_ERROR)
        return 0 if self.connection is None else self.connection.break_off()

    cdef int end(self) except -1:
        """Write no more."""
        self.count_as(CLIENT_LEFT, False)
        if self.pending is not None:
            self.release()
        self.orphan()
        if self.account is not None:
            self.keep_alive = False
            self.close_account(True)
        self.writing = CLOSED
        self.keep_alive = False
        return 0

    cdef int leave(self) except -1:
        """Note that the connection has another handler."""
        self.writing = CLOSED
        self.exchange = self.connection = self.held = self.account = None
        return 0

    cdef int lost(self) except -1:
        self.end()
        if self.files is not None:
            self.files.close()
        self.connection = self.held = self.files = None
        return self.detach()

    cdef int drained(self) except -1:
        """The client takes more."""
        if self.pending is not None:
            self.pending.flush()
        return self.exchange.writable() if self.exchange is not None else 0

    # What the exchange asks

    cdef int send_continue(self) except -1:
        """Send 100 (Continue) unless the final response has begun (RFC 9110 section 10.1.1)."""
        self.expect_continue = False
        return self.interim(b"HTTP/1.1 100 Continue\r\n\r\n")

    cdef int early_hint(self, links) except -1:
        return 0 if self.is_http10 else self.interim(early_hints(links))

    cdef int interim(self, bytes head) except -1:
        """Write an interim response before the head of the final one, or nothing if that has been sent."""
        return self.writer.commit_ahead(head) if self.writing in (INIT, HEAD) else 0

    cdef int want_body(self) except -1:
        return self.connection.want_body()

    cdef int took_body(self, Py_ssize_t left) except -1:
        if self.exchange is not None and self.exchange.body_ended:
            return 0
        return self.connection.took_body(left)

    cdef bint resume(self) except -1:
        return self.connection.resume()

    cdef bint must_wait(self) noexcept:
        return self.writer.paused and not self.writer.broken

    cdef bint broken(self) noexcept:
        return self.writer.broken

    cdef int respond(self, status, headers) except -1:
        cdef bint taken = False
        if self.writer.broken:
            raise ClientDisconnected("the client is gone")
        if self.account is not None and self.worker.notes_headers:
            headers = self.noted(headers)
        try:
            start_head(self.writer.output(), &self.extent.facts, status, headers)
            if self.extent.facts.status < 200:
                raise ValueError(f"the status of a final response must be at least 200, not {status!r}")
            taken = True
        finally:
            if not taken:
                self.writer.discard(self.writer.committed)
        self.writing = HEAD
        return 0

    cdef int respond_checked(self, int status, list fields, Py_ssize_t length) except -1:
        if self.account is not None and self.worker.notes_headers:
            return self.respond(status, pairs_of(fields, length))
        if self.writer.broken:
            raise ClientDisconnected("the client is gone")
        start_checked_head(self.writer.output(), &self.extent.facts, status, fields, length)
        self.writing = HEAD
        return 0

    cdef int hold_head(self) except -1:
        cdef Writer writer = self.writer
        cdef Py_ssize_t mark = writer.committed
        if self.writing != HEAD or writer.buffer is None:
            return 0
        if self.held is None:
            self.held = HeldHead.__new__(HeldHead)
            self.held.response = self
        if begins_stream(writer.buffer.data + mark, writer.buffer.size - mark):
            return self.worker.turn.hold_step(self.held)
        self.worker.clock.start(self.held, HELD_HEAD)
        return 0

    cdef void send_head(self) noexcept:
        """Send the head without the body that it was held for, unless it has been sent."""
        cdef HttpExchange exchange = self.exchange
        cdef bint taking
        if self.writing != HEAD or self.writer.broken or exchange is None:
            return
        taking, exchange.taking = exchange.taking, True  # a handler of the log cannot send in the middle of it
        try:
            try:
                self.frame(0, True)
            finally:
                exchange.taking = taking
            self.writer.commit_now()
            if self.extent.no_body and self.connection.eof_seen:
                self.connection.eof()
        except Exception as exception:
            self.worker.report("Exception in connection", exception)
            self.writer.abort()

    cdef int body(self, bytes data, bint more) except -1:
        self.announce(len(data), more)
        if self.account is not None:
            self.count_body(len(data))
        put_piece(self.extent.no_body, self.chunked, self.writer, data, more)
        if more and self.extent.no_body and self.connection.eof_seen:
            self.connection.eof()
        return 0 if more else self.finish()

    cdef int announce(self, long long size, bint more) except -1:
        """Prepare for a piece of body of this size: the head goes first, if it has not been sent."""
        if self.writer.broken:
            raise ClientDisconnected("the client is gone")
        if self.writing == HEAD:
            return self.frame(size, more)
        if self.extent.remaining >= 0:
            return self.count(size, more)
        return 0 if self.pending is None else self.pending.pour(not more)  # a stream has no length to count

    cdef int frame(self, long long size, bint more) except -1:
        """Decide how the body is delimited and whether the connection lasts, and complete the head."""
        cdef Worker worker = self.worker
        cdef Buffer out = self.writer.output()  # the head is in it
        cdef int connection = NO_CONNECTION
        cdef long long length = self.decide_length(size, more)
        cdef bint unframed = not self.extent.no_body and length < 0
        # Without a length an HTTP/1.0 client recognises the end by the close, and a client that waited for 100 in vain
        # may or may not send its body.
        if unframed and self.is_http10 or self.expect_continue or self.extent.facts.close or worker.draining:
            self.keep_alive = False
        elif self.connection.expects_body() and not self.connection.body_may_be_discarded():
            self.keep_alive = False  # the client must know now: after the response it may send the next request
        if not self.keep_alive or self.is_http10:
            connection = KEEP_ALIVE_FIELD if self.keep_alive else CLOSE
        self.chunked = unframed and not self.is_http10
        if self.account is not None:
            if more and begins_stream(out.data + self.writer.committed, out.size - self.writer.committed):
                stop(self.account)  # which lasts as long as its client likes
            if not self.account.named and self.account.request_id is not None:
                out.append_bytes(self.id_line())
        self.log_head()
        end_head(
            out, &self.extent.facts, worker.settings, worker.clock, length, self.chunked, connection, self.peers.encrypted
        )
        self.writing = BODY
        if self.held is not None:
            stop(self.held)
        return 0

    cdef int begin_file(self, long long size, bint more) except -1:
        self.announce(size, more)
        if self.account is not None:
            self.count_body(size)
        return open_chunk(self.chunked, self.writer, size)

    cdef long long send_file(self, int file, long long offset, long long size) except -2:
        if self.extent.no_body:
            return size
        if self.files is None:
            self.files = FileSender(self.connection, self.writer, self.worker.turn, self.worker.loop)
        return self.files.send(file, offset, size)

    cdef int put_raw(self, bytes data) except -1:
        return self.writer.commit_with(data)

    cdef int end_file(self, long long size, bint more) except -1:
        close_chunk(self.chunked, self.writer, size, b"" if more else LAST_CHUNK)
        return 0 if more else self.finish()

    cdef int trailers(self, list fields) except -1:
        if self.writer.broken:
            raise ClientDisconnected("the client is gone")
        self.count(0, False)
        end_with_trailers(self.chunked, self.writer, fields if self.te_trailers else [])
        return self.finish()

    cdef int finish(self) except -1:
        """End the response: the application has sent the last of it."""
        self.writing = DONE
        self.count_as(self.extent.facts.status, self.writer.queued)
        if self.pending is not None:
            self.release()
        if self.account is not None:
            self.close_account(False)
        self.is_head = False
        self.detach()
        return 0 if self.connection is None else self.connection.answered()

    cdef int accept(self, subprotocol, headers) except -1:
        cdef Incoming connection = self.connection  # which the accepted WebSocket replaces
        return connection.accept(subprotocol, headers)

    # Topics

    cdef Pending attach(self, Pending pending):
        if self.pending is not None:
            return self.pending
        if self.extent.facts.content_length >= 0:
            raise RuntimeError("A response with Content-Length cannot be subscribed to topics.")
        self.announce(0, True)
        if self.writer.buffer is not None:
            self.writer.commit()
        self.pending = pending
        self.writer.limit_unsent()
        return pending

    cdef int release(self) except -1:
        pending, self.pending = self.pending, None
        return (<Pending>pending).ended()

    cdef int put_shared(self, Shared message, bint alone) except -1:
        cdef bytes data
        if self.extent.no_body:
            return 0
        data = message.stream_event(self.chunked)
        if self.account is not None:
            self.count_body(len(data))
        if alone or len(data) >= LARGE:
            return self.writer.commit_with(data)
        return self.writer.output().append_bytes(data)

    cdef int commit_shared(self) except -1:
        return 0 if self.writer.buffer is None else self.writer.commit_now()

    cdef void fetch_shared(self) noexcept:
        fastserve_prefetch_all(<PyObject*>self.writer)

    cdef int cut(self) except -1:
        if self.pending is not None:
            self.release()
        self.writer.abort()
        return 0
