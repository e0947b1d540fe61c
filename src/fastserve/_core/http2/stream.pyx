"""A stream: one request and its response (RFC 9113 section 5.1). Only this file assigns `writing`.

writing   INIT    nothing of the response has been given
          HEAD    the application has given its head, which is held: it may still be replaced by a 500. Nothing of it is
                  encoded yet, for the encoder's state is that of what has been written
          BODY    the head is written; or that which accepts a WebSocket, and what it sends follows
          DONE    the application has given all of it; some of that may wait for the client
          CLOSED  the stream is closed: complete on both sides, reset by one, or its connection lost

`ended` is the other half: RFC 9113's "half-closed (remote)". A stream that the connection does not know any more is
closed. What the application does is as over HTTP/1.1: see http1/response.pyx.
"""
from libc.string cimport memcpy

from ..errors import ClientDisconnected
from ..http.exchange cimport HttpExchange
from ..http.response cimport CLIENT_LEFT, Response
from ..http.response_head cimport HeadFacts, as_bytes, is_streamed, reason_phrase
from ..interfaces cimport Channel, Handler, Pending, Shared
from ..loop.clock cimport HELD_HEAD, REQUEST_BODY, REQUEST_REST, SMALL_PIECE, WRITE, Timed, stop
from ..loop.turn cimport Flushable, Runnable
from ..memory.buffer cimport Buffer
from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from ..websocket.exchange cimport WebSocketExchange
from ..websocket.session cimport WebSocket
from .flow cimport DEFAULT_URGENCY, FIRST_WINDOW
from .frames cimport CANCEL, END_STREAM, FRAME_HEAD, HEADERS, INTERNAL_ERROR, put_head as put_frame_head
from .response_head cimport check_head, check_trailers, put_interim, put_response
from .websocket_writer cimport Bearer, WebSocketWriter

cdef enum:
    INIT
    HEAD
    BODY
    DONE
    CLOSED


cdef Http2Stream make_http2_stream(StreamCarrier connection, uint32_t id):
    cdef Http2Stream self = Http2Stream.__new__(Http2Stream)
    self.connection = connection
    self.flow = connection.flow
    self.id = id
    self.window = self.flow.first_window
    self.urgency = DEFAULT_URGENCY
    self.incremental = True
    self.credit = self.target = FIRST_WINDOW
    self.content_length = -1
    return self


cdef class StreamCarrier(Handler):
    cdef int want_body(self, Http2Stream stream) except -1:
        return 0

    cdef int took_body(self, Http2Stream stream, Py_ssize_t left) except -1:
        return 0

    cdef int took_frames(self, Http2Stream stream) except -1:
        return 0

    cdef bint holds_back(self, Http2Stream stream) except -1:
        return False

    cdef int sent(self, Http2Stream stream) except -1:
        return 0

    cdef int reset(self, Http2Stream stream, int error) except -1:
        return 0

    cdef int cut(self, Http2Stream stream) except -1:
        return 0

    cdef int overdue(self, Http2Stream stream) except -1:
        return 0


cdef class Start(Runnable):
    cdef void run(self) noexcept:
        cdef Http2Stream stream = self.stream
        try:
            if stream.exchange is not None and not stream.exchange.started:
                stream.start()
        except BaseException as exception:
            stream.worker.report("Exception in connection", exception)


cdef class HeldHead(Flushable):
    cdef void flush(self) noexcept:
        cdef Http2Stream stream = self.stream
        if stream is not None:
            stream.send_head()

    cdef void expired(self, int kind) noexcept:
        self.flush()


cdef class BodyWait(Timed):
    cdef void expired(self, int kind) noexcept:
        cdef Http2Stream stream = self.stream
        if stream is not None and stream.exchange is not None and stream.exchange.waits():
            give_up(stream)


cdef class SendWait(Timed):
    cdef void expired(self, int kind) noexcept:
        cdef Http2Stream stream = self.stream
        if stream is not None:
            give_up(stream)


cdef class SmallPiece(Timed):
    cdef void expired(self, int kind) noexcept:
        cdef Http2Stream stream = self.stream
        try:
            if stream is not None:
                stream.flow.send_small(stream)
        except BaseException as exception:
            stream.worker.report("Exception in connection", exception)


cdef void give_up(Http2Stream stream) noexcept:
    try:
        if stream.connection is not None:
            stream.connection.overdue(stream)
    except BaseException as exception:
        stream.worker.report("Exception in connection", exception)


cdef class Http2Stream(Bearer):
    # What the connection asks

    cdef int start(self) except -1:
        cdef HttpExchange exchange = self.exchange  # which may lose its stream while it runs
        if not self.connection.holds_back(self):
            exchange.run()
        return 0

    cdef bint is_closed(self) noexcept:
        return self.writing == CLOSED

    cdef bint is_complete(self) noexcept:
        """Whether the application has given all of the response."""
        return self.writing == DONE

    cdef bint is_endless(self) noexcept:
        """Whether it has begun and does not say where it ends."""
        return self.writing == BODY and self.extent.remaining < 0 and not self.extent.no_body

    cdef bint takes_data(self) noexcept:
        """Whether somebody wants what the client sends."""
        return self.exchange is not None or self.websocket is not None and self.writing == BODY

    cdef bint expects_much(self) noexcept:
        """Whether its WebSocket is in the middle of a message that a first window does not hold."""
        cdef Channel channel = self.websocket.channel
        return channel is not None and (<WebSocket>channel).expects_much(FIRST_WINDOW)

    cdef HttpExchange application(self):
        """The exchange that its application has, which a WebSocket has taken off the stream."""
        if self.exchange is None and self.websocket is not None:
            return self.websocket.exchange
        return self.exchange

    cdef int drain(self) except -1:
        """The server stops."""
        if self.exchange is not None:
            return self.exchange.stopping()
        return 0 if self.websocket is None else self.websocket.drain()

    cdef int client_ended(self) except -1:
        """The client has sent the last byte of the connection."""
        if self.exchange is not None:
            return self.exchange.disconnected()
        if self.websocket is not None and not self.ended:
            return self.end_request()
        return 0

    cdef int receive(self, bytes data) except -1:
        """A piece of the body, or of what a WebSocket sends, has come."""
        if self.websocket is not None:
            return self.websocket.feed(data)
        if self.body_wait is not None:
            stop(self.body_wait)
        return self.exchange.put_body(data)

    cdef int gather(self, const char* data, Py_ssize_t size, Py_ssize_t following) except -1:
        """Collect a piece of the body with the `following` bytes that arrived with it, to deliver them as one."""
        if self.gathered is not None and size > PyBytes_GET_SIZE(self.gathered) - self.filled:
            self.receive_gathered()
        if self.gathered is None:
            if following == 0:
                return self.receive(PyBytes_FromStringAndSize(data, size))
            self.gathered = PyBytes_FromStringAndSize(NULL, size + following)
            self.filled = 0
        memcpy(PyBytes_AS_STRING(self.gathered) + self.filled, data, size)
        self.filled += size
        return self.receive_gathered() if self.filled == PyBytes_GET_SIZE(self.gathered) else 0

    cdef int receive_gathered(self) except -1:
        cdef bytes data = self.gathered
        self.gathered = None
        return self.receive(data if self.filled == PyBytes_GET_SIZE(data) else data[:self.filled])

    cdef bint is_sent(self) noexcept:
        """Whether all of the response has left."""
        return self.ends_sent and self.writing == DONE

    cdef void begin_discarding(self, double seconds) noexcept:
        """The response is complete, the request is not: let the client go on for that long, if it does not pause."""
        self.discarded_until = self.worker.clock.now() + seconds
        self.discard()

    cdef void discard(self) noexcept:
        if self.send_wait is None:
            self.make_send_wait()
        self.worker.clock.start_before(self.send_wait, REQUEST_REST, self.discarded_until)

    cdef void hurry(self, double seconds) noexcept:
        """The server stops: do not let the client go on for longer than that."""
        if self.is_sent() and not self.ended:
            self.discarded_until = min(self.discarded_until, self.worker.clock.now() + seconds)
            self.discard()

    cdef void wait(self, int kind) noexcept:
        """Have the client do something in time, from now on."""
        if self.send_wait is None:
            self.make_send_wait()
        self.worker.clock.start(self.send_wait, kind)

    cdef int make_send_wait(self) except -1:
        self.send_wait = SendWait.__new__(SendWait)
        self.send_wait.stream = self
        return 0

    cdef int end_request(self) except -1:
        self.ended = True
        if self.gathered is not None and self.exchange is not None:
            self.receive_gathered()
        if self.body_wait is not None:
            stop(self.body_wait)
        if self.websocket is None:
            return 0 if self.exchange is None else self.exchange.end_body()
        # Of a WebSocket, half of it is the end of the whole (RFC 8441 section 5).
        return self.websocket.eof() if self.exchange is None else self.exchange.disconnected()

    cdef void wait_for_body(self) noexcept:
        """The application waits for its body, which is to go on in time."""
        if self.body_wait is None:
            self.body_wait = BodyWait.__new__(BodyWait)
            self.body_wait.stream = self
        if self.body_wait.deadline.next == NULL:  # one wait, however often receive() is cancelled
            self.worker.clock.start(self.body_wait, REQUEST_BODY)

    cdef int close(self) except -1:
        """Nothing more comes or goes."""
        self.count_as(CLIENT_LEFT, False)
        if self.pending is not None:
            self.release()
        self.orphan()
        if self.account is not None:
            self.close_account(True)
        self.writing = CLOSED
        self.fields = self.gathered = None
        self.flow.forget(self)
        if self.held is not None:
            stop(self.held)
            self.held.stream = None
        if self.body_wait is not None:
            stop(self.body_wait)
            self.body_wait.stream = None
        if self.send_wait is not None:
            stop(self.send_wait)
            self.send_wait.stream = None
        if self.small_piece is not None:
            stop(self.small_piece)
            self.small_piece.stream = None
        self.connection = None
        self.held = self.small_piece = None
        self.body_wait = None
        self.send_wait = None
        if self.websocket is not None:
            websocket, self.websocket = self.websocket, None
            (<WebSocketWriter>websocket).leave()
        return self.detach()

    # What the base class asks

    cdef bint head_is_given(self) noexcept:
        return self.writing == HEAD

    cdef bint head_has_left(self) noexcept:
        return self.writing > HEAD

    cdef bint client_has_ended(self) noexcept:
        return self.connection is not None and (
            self.connection.eof_seen or self.websocket is not None and self.ended
        )

    cdef bint request_is_cut(self) noexcept:
        return self.client_has_ended() and not self.ended

    cdef long long bytes_given(self) noexcept:
        return self.given

    cdef long long bytes_received(self) noexcept:
        return self.received

    cdef bint is_kept(self) noexcept:
        return self.connection is not None and not self.worker.draining

    cdef int answer(self, int status, bytes extra) except -1:
        """Send a response of the server's own."""
        cdef Http2Stream kept = self
        cdef list headers = [(b"content-type", b"text/plain; charset=utf-8")]
        cdef bytes body = reason_phrase(status).encode()
        self.count_as(status, False)
        if self.connection is None or self.broken():
            return 0
        headers += [tuple(line.split(b": ", 1)) for line in extra.splitlines()]
        self.fields = []
        check_head(&self.extent.facts, status, headers, self.fields)
        if self.account is not None:
            if not self.client_has_ended() or self.request_is_cut():  # else the client left
                self.account.status = status
            self.account.body = 0 if self.is_head else len(body)
            self.account.named = False
        self.writing = HEAD
        self.put_head(len(body), False, False)
        if not self.extent.no_body:
            self.send(body, True)
        return kept.finish()

    cdef int break_off(self) except -1:
        return 0 if self.connection is None else self.connection.reset(self, INTERNAL_ERROR)

    # What the exchange asks

    cdef int send_continue(self) except -1:
        """RFC 9110 section 10.1.1: 100 (Continue), unless the final response went first."""
        self.expect_continue = False
        return self.interim(100, [])

    cdef int early_hint(self, links) except -1:
        cdef HeadFacts facts
        cdef list fields = []
        check_head(&facts, 103, [(b"link", as_bytes(link, "a link")) for link in links], fields)
        return self.interim(103, fields)

    cdef int interim(self, int status, list fields) except -1:
        """Write an interim response before the final one's head, or nothing where that has left."""
        cdef Buffer out
        cdef Py_ssize_t mark
        if self.writing > HEAD or self.broken():
            return 0
        out = self.connection.writer.output()
        mark = out.size
        put_frame_head(out, 0, HEADERS, 0, self.id)
        put_interim(out, self.flow.encoder, status, fields)
        return self.flow.close_fields(mark, self.id, 0)

    cdef int want_body(self) except -1:
        return 0 if self.connection is None else self.connection.want_body(self)

    cdef int took_body(self, Py_ssize_t left) except -1:
        return 0 if self.connection is None else self.connection.took_body(self, left)

    cdef bint must_wait(self) noexcept:
        return not self.broken() and (self.unsent > 0 or self.connection.writer.paused)

    cdef bint broken(self) noexcept:
        return self.connection is None or self.connection.writer.broken

    cdef int respond(self, status, headers) except -1:
        cdef list fields = []
        if self.broken():
            raise ClientDisconnected("the client is gone")
        if self.account is not None and self.worker.notes_headers:
            headers = self.noted(headers)
        check_head(&self.extent.facts, status, headers, fields)
        if self.extent.facts.status < 200:
            raise ValueError(f"the status of a final response is at least 200, not {status!r}")
        self.fields = fields
        self.writing = HEAD
        return 0

    cdef int hold_head(self) except -1:
        if self.writing != HEAD:
            return 0
        if self.held is None:
            self.held = HeldHead.__new__(HeldHead)
            self.held.stream = self
        if self.begins_stream():
            return self.worker.turn.hold_step(self.held)
        self.worker.clock.start(self.held, HELD_HEAD)
        return 0

    cdef bint begins_stream(self) noexcept:
        """Whether the held head is that of a stream, whose client waits for it alone."""
        cdef bytes name, value
        for name, value in self.fields:
            if name == b"content-type":
                return is_streamed(value, len(value))
        return False

    cdef void send_head(self) noexcept:
        """Send the head without the body that it was held for, unless it has gone."""
        cdef Http2Stream kept = self
        cdef HttpExchange exchange = self.exchange
        cdef bint taking
        if self.writing != HEAD or self.broken() or exchange is None:
            return
        taking, exchange.taking = exchange.taking, True  # a handler of the log cannot send in the middle of it
        try:
            try:
                kept.put_head(0, True, False)
            finally:
                exchange.taking = taking
            kept.end_unseen()
        except Exception as exception:
            self.worker.report("Exception in connection", exception)
            self.connection.writer.abort()

    cdef int body(self, bytes data, bint more) except -1:
        cdef Http2Stream kept = self  # by nobody else once it is closed, as in the methods below
        self.announce(len(data), more, not more)
        if self.account is not None:
            self.count_body(len(data))
        if not self.ends_sent and not self.extent.no_body:
            self.send(data, not more)
        return kept.end_unseen() if more else kept.finish()

    cdef int end_unseen(self) except -1:
        """End the stream if its client has ended its side and there is no body: no write would show that it has left."""
        if self.ends_sent and self.ended and self.client_has_ended():
            return self.connection.overdue(self)
        return 0

    cdef int announce(self, long long size, bint more, bint ends) except -1:
        """A piece of body of this size follows: its head goes first, if it has not gone yet."""
        if self.broken():
            raise ClientDisconnected("the client is gone")
        if self.pending is not None:
            self.pending.pour(not more)
            if self.broken():  # the client cannot take what was published before
                raise ClientDisconnected("the client is gone")
        return self.put_head(size, more, ends) if self.writing == HEAD else self.count(size, more)

    cdef int put_head(self, long long size, bint more, bint ends) except -1:
        """Decide how much body there is, and write the head; `ends`: with no more body than this it ends the stream."""
        cdef Writer writer = self.connection.writer
        cdef long long length = self.decide_length(size, more)
        cdef bint last = self.extent.no_body or ends and size == 0
        cdef Buffer out
        cdef Py_ssize_t mark
        if self.account is not None:
            if more and self.begins_stream():
                stop(self.account)  # which lasts as long as its client likes
            if self.account.request_id is not None and not self.account.named:
                self.fields.append((self.worker.settings.request_id_field, self.account.request_id.encode()))
        if self.exchange is not None:
            self.log_head()
        out = writer.output()
        mark = out.size
        put_frame_head(out, 0, HEADERS, 0, self.id)
        put_response(
            out, self.flow.encoder, &self.extent.facts, self.fields, self.worker.settings, self.worker.clock, length,
            self.peers is not None and self.peers.encrypted,
        )
        self.writing = BODY
        self.fields = None
        self.ends_sent = last
        self.given += out.size - mark
        if self.held is not None:
            stop(self.held)
        return self.flow.close_fields(mark, self.id, END_STREAM if last else 0)

    cdef int send(self, bytes data, bint last) except -1:
        if self.account is not None:
            self.given += len(data) + FRAME_HEAD * max(1, (len(data) + self.flow.largest - 1) // self.flow.largest)
        self.flow.send(self, data, last)
        return self.watch_unsent()

    cdef int watch_unsent(self) except -1:
        """Have the client take in time what waits for it."""
        if self.unsent and (self.send_wait is None or self.send_wait.deadline.next == NULL):
            self.wait(WRITE)
        if self.unsent and self.client_has_ended() and not self.connection.writer.paused:
            return self.connection.overdue(self)  # no window will ever open
        return 0

    # WebSockets

    cdef int accept(self, subprotocol, headers) except -1:
        cdef Http2Stream kept = self
        cdef WebSocketExchange exchange
        cdef list fields = []
        if self.broken():
            raise ClientDisconnected("the client is gone")
        exchange = <WebSocketExchange>self.exchange
        if exchange.account is not None:
            headers = exchange.with_id(headers)
        check_head(&self.extent.facts, 200, self.websocket.handshake.fields_of_acceptance(subprotocol, headers), fields)
        self.extent.facts.content_length = -1  # RFC 9110 section 9.3.6
        self.fields = fields
        self.writing = HEAD
        self.count_as(200, False)
        self.exchange = None
        self.account = None  # from now on, the exchange's
        self.put_head(0, True, False)
        if exchange.account is not None:
            exchange.account.mark = -self.given  # what its own writer gives comes on top
        kept.websocket.open(exchange)
        if exchange.account is not None:
            exchange.account.status = 200
        return 0

    cdef int send_frames(self, const char* data, Py_ssize_t size, bint last) except -1:
        self.flow.send_copy(self, data, size, last)
        return self.watch_unsent()

    cdef int send_large(self, bytes data) except -1:
        return self.send(data, False)

    cdef int took_frames(self) except -1:
        return 0 if self.connection is None else self.connection.took_frames(self)

    cdef void limit_unsent(self) noexcept:
        if self.connection is not None:
            self.connection.writer.limit_unsent()

    cdef int fail(self, bint ours) except -1:
        return 0 if self.connection is None else self.connection.reset(self, INTERNAL_ERROR if ours else CANCEL)

    cdef int moved(self) except -1:
        """Some of what waited has left."""
        if self.small_piece is not None:
            stop(self.small_piece)
        if self.unsent:
            self.wait(WRITE)
            return 0
        if self.send_wait is not None:
            stop(self.send_wait)
        if self.writing == DONE:
            return 0 if self.connection is None else self.connection.sent(self)
        return self.drained()

    cdef int wait_for_window(self) except -1:
        if self.small_piece is None:
            self.small_piece = SmallPiece.__new__(SmallPiece)
            self.small_piece.stream = self
        if self.small_piece.deadline.next == NULL:
            self.worker.clock.start(self.small_piece, SMALL_PIECE)
        return 0

    cdef int drained(self) except -1:
        """The client may take more."""
        if self.websocket is not None and self.exchange is None:
            return self.websocket.drained()
        if self.pending is not None:
            self.pending.flush()
        if self.exchange is not None and not self.must_wait():
            return self.exchange.writable()
        return 0

    cdef int begin_file(self, long long size, bint more) except -1:
        self.announce(size, more, False)
        return 0 if self.account is None else self.count_body(size)

    cdef long long send_file(self, int file, long long offset, long long size) except -2:
        return size if self.extent.no_body else -1

    cdef int put_raw(self, bytes data) except -1:
        cdef Http2Stream kept = self
        return 0 if self.broken() else kept.send(data, False)

    cdef int end_file(self, long long size, bint more) except -1:
        cdef Http2Stream kept = self
        if not more and not self.ends_sent:
            self.send(b"", True)
        return 0 if more else kept.finish()

    cdef int trailers(self, list fields) except -1:
        cdef list checked = None
        cdef Http2Stream kept = self
        if self.broken():
            raise ClientDisconnected("the client is gone")
        if self.pending is not None:
            self.pending.pour(True)
            if self.broken():
                raise ClientDisconnected("the client is gone")
        self.count(0, False)
        if not self.ends_sent:
            if self.te_trailers and fields:
                checked = check_trailers(fields)
            self.flow.end(self, checked)
        return kept.finish()

    cdef int finish(self) except -1:
        """The application has sent the last of its response."""
        cdef Http2Stream kept = self
        if self.writing == CLOSED:
            return 0
        self.writing = DONE
        self.count_as(self.extent.facts.status, self.connection is not None and self.connection.writer.queued)
        if self.pending is not None:
            self.release()
        if self.account is not None:
            self.close_account(self.client_has_ended() and self.exchange is None)
        self.detach()
        if self.unsent == 0 and self.connection is not None:
            return kept.connection.sent(kept)
        return 0

    # Topics

    cdef Pending attach(self, Pending pending):
        if self.pending is not None:
            return self.pending
        if self.extent.facts.content_length >= 0:
            raise RuntimeError("A response with Content-Length cannot be subscribed to topics.")
        self.announce(0, True, False)
        self.pending = pending
        self.connection.writer.limit_unsent()
        return pending

    cdef int release(self) except -1:
        pending, self.pending = self.pending, None
        return (<Pending>pending).ended()

    cdef int put_shared(self, Shared message, bint alone) except -1:
        cdef Http2Stream kept = self
        cdef bytes data
        if self.ends_sent or self.broken():
            return 0
        data = message.stream_event(False)
        if self.account is not None:
            self.count_body(len(data))
        return kept.send(data, False)

    cdef int commit_shared(self) except -1:
        return 0  # put_shared() has: those of all streams of a connection leave together

    cdef int cut(self) except -1:
        return 0 if self.connection is None else self.connection.cut(self)
