"""The state machine of an HTTP/1 connection (RFC 9112). Only this file assigns `reading`, `writing` and `keep_alive`.

reading   INIT    between two requests
          HEAD    a head has begun to come
          BODY    the head is parsed, the body is coming
          DONE    the request under way is complete; what follows it is kept in `tail` and not parsed yet
          CLOSED  nothing is parsed any more
writing   INIT    nothing of the response has been given
          HEAD    the application has given its head, which is held: it may still be replaced by a 500. It leaves with the
                  first piece of body. Without one it leaves when the application has suspended, where it announces a
                  stream, else after a quarter of a second
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

from ..errors import ClientDisconnected
from ..http.access_log cimport address_text, log_response
from ..http.exchange cimport HttpExchange, make_exchange
from ..http.request cimport Request
from ..http.response_head cimport CLOSE, KEEP_ALIVE as KEEP_ALIVE_FIELD, NO_CONNECTION
from ..http.response_head cimport begins_stream, early_hints, end_head, plain_response, start_head
from ..http.scope cimport Peers, http_scope, peers_of
from ..interfaces cimport Carrier, Handler
from ..llhttp cimport HTTP_HEAD
from ..loop.clock cimport HELD_HEAD, KEEP_ALIVE, REQUEST_BODY, REQUEST_HEAD, stop
from ..loop.turn cimport Flushable, Runnable
from ..memory.buffer cimport Buffer
from ..transport.lingering cimport begin_lingering
from ..transport.sendfile cimport FileSender
from ..transport.writer cimport Writer
from ..websocket.exchange cimport WebSocketExchange, make_websocket_exchange
from ..websocket.handshake cimport Handshake, read_handshake
from ..worker cimport Worker
from .body_framing cimport LAST_CHUNK, close_chunk, count, decide, end_with_trailers, open_chunk, put_piece
from .parser cimport BODY as FOUND_BODY, DONE as FOUND_DONE, FAULT, HEAD as FOUND_HEAD, NEED_MORE, Parser

cdef enum:
    INIT
    HEAD
    BODY
    DONE
    CLOSED

cdef enum:
    READ_AHEAD = 65536  # bytes of body, or of requests behind the one under way, beyond which reading stops
    DISCARD = 1 << 20  # bytes of a body nobody wants that are read for the sake of keeping the connection

cdef int WARNING = logging.WARNING, DEBUG = logging.DEBUG
cdef bytes RETRY_AFTER = b"retry-after: 1\r\n"


cdef Http1Connection make_http1_connection(Worker worker, object transport, Writer writer, Carrier carrier):
    cdef Http1Connection self = Http1Connection.__new__(Http1Connection)
    self.worker = worker
    self.transport = transport
    self.writer = writer
    self.carrier = carrier
    self.parser = Parser.__new__(Parser, worker.settings)
    worker.clock.start(self, REQUEST_HEAD)
    return self


cdef class HeldHead(Flushable):
    cdef void flush(self) noexcept:
        self.http1.send_head()

    cdef void expired(self, int kind) noexcept:
        self.http1.send_head()


cdef class Refusal(Runnable):
    cdef void run(self) noexcept:
        self.http1.refuse_now(self.status)


cdef class Http1Connection(Handler):
    # Bytes from the client

    cdef int feed(self, bytes data) except -1:
        if self.reading == DONE:
            return self.keep_tail(data)
        if self.reading == CLOSED:
            if self.lingering is not None:
                self.lingering.heard()
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
                    return self.hand_over() if self.is_served_elsewhere() else 0
            if found == NEED_MORE:
                return self.wait_for_more()

    cdef int begin(self) except -1:
        """A head is complete: make its exchange."""
        cdef Worker worker = self.worker
        cdef Request request = self.parser.request
        cdef Py_ssize_t limit = worker.settings.limit_concurrency
        cdef int status = 0
        stop(self)
        if self.peers is None:
            self.peers = peers_of(self.transport, self.writer.fd, worker.settings)
            self.address = address_text(self.peers.client)
        self.reading = BODY if request.has_body() else DONE
        self.writing = INIT
        self.keep_alive = request.keep_alive
        self.is_head = request.method == HTTP_HEAD
        self.is_http10 = request.minor == 0
        self.expect_continue = request.expect_continue and request.has_body()
        self.te_trailers = request.te_trailers
        self.content_length = request.content_length
        self.handshake = read_handshake(request, worker) if request.upgrade else None
        if self.handshake is None:
            scope = http_scope(request, self.peers, worker.settings, worker.state)
        else:
            scope = self.handshake.scope(request, self.peers)
            status, fields, self.keep_alive = self.handshake.status, self.handshake.fields, False
        self.is_websocket = self.handshake is not None and not status
        self.parser.release_head()
        if request.is_https and self.peers.scheme == "http" and self.peers.proxies is None:
            status, fields = 421, b""  # RFC 9110 section 7.4
        if limit and (len(worker.connections) - worker.lingering >= limit or worker.active >= limit):
            worker.report("Exceeded concurrency limit.", None, WARNING)
            status, fields = 503, RETRY_AFTER
        if status:
            log_response(worker, scope, self.peers.client, self.address, status, self.is_websocket)
            return self.answer(status, fields)
        if self.is_served_elsewhere():
            return 0  # all of the request is handed over, when parse() is done
        if self.handshake is None:
            self.exchange = make_exchange(worker, self, scope)
        else:
            self.exchange = make_websocket_exchange(worker, self, scope)
        self.exchange.expect_continue = self.expect_continue
        return worker.turn.submit(self.exchange)

    cdef int deliver(self, bytes data) except -1:
        cdef Py_ssize_t size = self.parser.body_size
        cdef bytes piece
        stop(self)
        if self.exchange is None:
            self.worker.clock.start(self, REQUEST_BODY)
            return 0
        # A piece that is all of the read is passed on as it is.
        piece = data if size == len(data) else PyBytes_FromStringAndSize(self.parser.body_data, size)
        # What the application has not taken by the time of the next read is more than it keeps up with.
        if self.exchange.buffered > READ_AHEAD:
            self.pause_reading()
        if size >= READ_AHEAD:
            self.worker.turn.hurried = True
        return self.exchange.put_body(piece)

    cdef int end_request(self) except -1:
        if self.exchange is not None:
            stop(self)
            self.reading = DONE
            return self.exchange.end_body()
        if self.writing == DONE:  # the rest of a body that nobody wanted
            self.reading = INIT
        return 0

    cdef int wait_for_more(self) except -1:
        """All input is parsed and something is incomplete."""
        if self.reading == BODY:
            return 0
        if self.eof_seen:
            return self.close()
        if not self.parser.in_head:
            self.worker.clock.start(self, KEEP_ALIVE)
        elif self.reading != HEAD:
            self.reading = HEAD
            self.worker.clock.start(self, REQUEST_HEAD)
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
        if self.resting:
            return 0
        if self.tail is not None and len(self.tail) - self.tail_at > READ_AHEAD:
            return 0
        if self.read_paused and not self.eof_seen:
            self.read_paused = False
            self.transport.resume_reading()
        return 0

    cdef int rest(self) except -1:
        if self.read_paused or self.eof_seen:
            return 0
        self.resting = True
        self.pause_reading()
        return 1

    cdef int rested(self) except -1:
        self.resting = False
        return self.resume_reading()

    cdef bint eof(self) except -1:
        self.eof_seen = True
        if self.exchange is not None:
            if self.writing == BODY and self.framing.no_body and self.reading == DONE and self.tail is None:
                self.break_off()  # no write will ever tell whether the client is still there
            else:
                self.exchange.disconnected()
            return True
        if self.writer.committed or self.writer.paused:
            stop(self)
            self.break_off()
            return True
        return False

    cdef int lost(self) except -1:
        stop(self)
        self.orphan()
        self.reading = self.writing = CLOSED
        self.tail = None
        if self.lingering is not None:
            self.lingering.lost()
        self.parser.release_head()
        if self.files is not None:
            self.files.close()
        self.carrier = self.held = None
        return self.detach()

    # Refusing

    cdef int refuse(self, int status) except -1:
        """The client broke the protocol: answer with `status` where an answer can still be given, and close."""
        cdef Refusal refusal
        stop(self)
        self.reading = CLOSED
        self.tail = None
        self.worker.report("Invalid HTTP request received.", None, WARNING)
        self.report_client(self.parser.reason.decode())
        if self.exchange is None or self.exchange.started:
            return self.refuse_now(status)
        refusal = Refusal.__new__(Refusal)
        refusal.http1 = self
        refusal.status = status
        return self.worker.turn.submit(refusal)

    cdef int report_client(self, str what) except -1:
        """Say at debug level what the client did wrong, and which one that was."""
        cdef bytes address = self.address
        if address is None:
            address = address_text(peers_of(self.transport, self.writer.fd, self.worker.settings).client)
        self.worker.report(f"{what} ({address.decode() or 'client without an address'})", None, DEBUG)
        return 0

    cdef int refuse_now(self, int status) except -1:
        if self.writing == CLOSED:
            return 0
        if self.exchange is None:
            # In the body of a request that has its response already, or in a head.
            return self.close() if self.parser.in_body else self.answer(status, b"")
        if self.writing == BODY:
            return self.break_off()
        self.detach()
        return self.answer(status, b"")

    cdef int answer(self, int status, bytes extra) except -1:
        """Send a response of the server's own, and close."""
        cdef Worker worker = self.worker
        cdef Buffer out
        self.writer.discard(self.writer.committed)
        out = self.writer.output()
        out.append_bytes(plain_response(status, worker.settings, worker.clock, extra, not self.is_head))
        self.writer.commit()
        return self.close()

    cdef int detach(self) except -1:
        """The exchange under way goes on without the connection."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            (<HttpExchange>exchange).completed()
        return 0

    cdef int orphan(self) except -1:
        """Note with the exchange under way whether its response has begun and does not say where it ends."""
        cdef HttpExchange exchange = self.exchange
        if exchange is None or exchange.is_complete():
            return 0
        if self.writing == HEAD:
            exchange.endless = self.framing.facts.content_length < 0
        elif self.writing == BODY:
            exchange.endless = self.framing.remaining < 0
        return 0

    cdef int close(self) except -1:
        """Close after what is written; while the client may still be sending, only the writing side at first.

        A close with unread input resets the connection, and the client would lose the answer (RFC 9112 section 9.6).
        """
        cdef bint linger = not self.eof_seen and self.reading != INIT
        cdef bint more = self.reading != DONE and not self.is_http10
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
        self.lingering = begin_lingering(self.worker, self.writer, more)
        return 0

    cdef void expired(self, int kind) noexcept:
        if kind == REQUEST_HEAD and self.reading == HEAD:
            self.report_client("request head that did not end in time")
            self.answer(408, b"")
        elif kind != REQUEST_BODY or self.exchange is None or self.exchange.waits():
            self.writer.discard(self.writer.committed)
            self.break_off()

    cdef int drain(self) except -1:
        """Close unless a request is under way: a part of a head is none."""
        if self.exchange is not None:
            return self.exchange.stopping()
        if self.lingering is not None:
            return self.lingering.hurry()
        if self.reading == BODY:
            return self.close()
        stop(self)
        return self.break_off()

    cdef int break_off(self) except -1:
        """Close after what is written, wherever in a response that is."""
        self.orphan()
        self.reading = self.writing = CLOSED
        self.writer.close()
        return self.detach()

    cdef int end_streams(self, list tasks) except -1:
        """Break off a response that has begun and does not say where it ends; wake who waits for the client to go."""
        cdef HttpExchange exchange = self.exchange
        if exchange is None:
            return 0
        if self.writing != BODY or self.framing.remaining >= 0:
            if exchange.body_taken and exchange.waits():
                exchange.disconnected()
            return 0
        self.break_off()
        if exchange.task is not None:
            tasks.append(exchange.task)
            if self.writer.paused:
                self.writer.abort()  # what is left has no end either, and its client may never take it
        return 0

    cdef int drained(self) except -1:
        return self.exchange.writable() if self.exchange is not None else 0

    # The response

    cdef int send_continue(self) except -1:
        """RFC 9110 section 10.1.1: 100 (Continue), unless the final response went first."""
        self.expect_continue = False
        return self.interim(b"HTTP/1.1 100 Continue\r\n\r\n")

    cdef int early_hint(self, links) except -1:
        return 0 if self.is_http10 else self.interim(early_hints(links))

    cdef int interim(self, bytes head) except -1:
        """Write an interim response before the final one's head, or nothing where that has left."""
        return self.writer.commit_ahead(head) if self.writing in (INIT, HEAD) else 0

    cdef int want_body(self) except -1:
        if not self.eof_seen and self.deadline.next == NULL:  # one wait, however often receive() is cancelled
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
            start_head(self.writer.output(), &self.framing.facts, status, headers)
            if self.framing.facts.status < 200:
                raise ValueError(f"the status of a final response is at least 200, not {status!r}")
        except BaseException:
            self.writer.discard(self.writer.committed)
            raise
        self.writing = HEAD
        return 0

    cdef int hold_head(self) except -1:
        cdef Writer writer = self.writer
        cdef Py_ssize_t mark = writer.committed
        if self.writing != HEAD or writer.buffer is None:
            return 0
        if self.held is None:
            self.held = HeldHead.__new__(HeldHead)
            self.held.http1 = self
        if begins_stream(writer.buffer.data + mark, writer.buffer.size - mark):
            return self.worker.turn.hold_step(self.held)
        self.worker.clock.start(self.held, HELD_HEAD)
        return 0

    cdef void send_head(self) noexcept:
        """Send the head without the body that it was held for, unless it has gone."""
        if self.writing != HEAD or self.writer.broken:
            return
        try:
            self.frame(0, True)
            self.writer.commit_now()
            if self.framing.no_body and self.eof_seen:
                self.eof()
        except Exception as exception:
            self.worker.report("Exception in connection", exception)
            self.writer.abort()

    cdef int body(self, bytes data, bint more) except -1:
        self.announce(len(data), more)
        put_piece(&self.framing, self.writer, data, more)
        if more and self.framing.no_body and self.eof_seen:
            self.eof()
        return 0 if more else self.finish()

    cdef int announce(self, long long size, bint more) except -1:
        """A piece of body of this size follows: its head goes first, if it has not gone yet."""
        if self.writer.broken:
            raise ClientDisconnected("the client is gone")
        return self.frame(size, more) if self.writing == HEAD else count(&self.framing, size, more)

    cdef int frame(self, long long size, bint more) except -1:
        """Decide how the body is delimited and whether the connection lasts, and complete the head."""
        cdef Worker worker = self.worker
        cdef Buffer out = self.writer.output()  # the head is in it
        cdef Framing* framing = &self.framing
        cdef int status = framing.facts.status, connection = NO_CONNECTION
        cdef long long length = decide(framing, self.is_head, self.is_http10, size, more)
        # Without a length an HTTP/1.0 client knows the end by the close, and a client that waited for 100 in vain may
        # send its body or not.
        cdef bint unframed = not framing.no_body and length < 0 and self.is_http10
        if unframed or self.expect_continue or framing.facts.close or worker.draining:
            self.keep_alive = False
        elif self.reading == BODY and not self.may_be_discarded():
            self.keep_alive = False  # the client has to know now: with the end of the response it may ask for more
        if not self.keep_alive or self.is_http10:
            connection = KEEP_ALIVE_FIELD if self.keep_alive else CLOSE
        if status != 500 or not self.eof_seen:  # what fails because its client has left is of no interest
            log_response(worker, self.exchange.scope, self.peers.client, self.address, status, self.is_websocket)
        end_head(out, &framing.facts, worker.settings, worker.clock, length, framing.chunked, connection)
        self.writing = BODY
        if self.held is not None:
            stop(self.held)
        return 0

    cdef int begin_file(self, long long size, bint more) except -1:
        self.announce(size, more)
        return open_chunk(&self.framing, self.writer, size)

    cdef long long send_file(self, int file, long long offset, long long size) except -2:
        if self.framing.no_body:
            return size
        if self.files is None:
            self.files = FileSender(self, self.writer, self.worker.turn, self.worker.loop)
        return self.files.send(file, offset, size)

    cdef int put_raw(self, bytes data) except -1:
        return self.writer.commit_with(data)

    cdef int end_file(self, long long size, bint more) except -1:
        close_chunk(&self.framing, self.writer, size, b"" if more else LAST_CHUNK)
        return 0 if more else self.finish()

    cdef int trailers(self, list fields) except -1:
        if self.writer.broken:
            raise ClientDisconnected("the client is gone")
        end_with_trailers(&self.framing, self.writer, fields if self.te_trailers else [])
        return self.finish()

    cdef bint may_be_discarded(self) noexcept:
        """Whether the rest of the request's body may be read for the sake of keeping the connection."""
        return 0 < self.content_length <= self.parser.body_total + DISCARD

    cdef int finish(self) except -1:
        """The application has sent the last of its response."""
        self.writing = DONE
        self.is_head = False
        self.detach()
        return self.advance()

    cdef int advance(self) except -1:
        """The response is complete: go on to the next request, or close."""
        if not self.keep_alive or self.reading == CLOSED or self.worker.draining:
            return self.close()
        if self.reading == BODY:
            if self.eof_seen:
                return self.close()
            self.resume_reading()
            self.worker.clock.start(self, REQUEST_BODY)
            return 0
        self.reading = INIT
        if self.tail is None:
            self.wait_for_more()
        else:
            tail, self.tail = self.tail, None
            self.parse(<bytes>tail, self.tail_at)
        return 0 if self.reading == CLOSED else self.resume_reading()

    cdef int abandon(self) except -1:
        """The application will not complete its response: a 500 where nothing of it was written, else break off."""
        cdef int status = 503 if self.exchange is not None and self.exchange.gone and self.worker.draining else 500
        scope = self.exchange.scope if self.exchange is not None else None
        self.detach()
        if not self.writer.broken and (self.writing == INIT or self.writing == HEAD):
            if self.eof_seen and self.reading == BODY:
                return self.answer(400, b"")  # the client never sent all of its request (RFC 9112 section 8)
            if scope is not None and not self.eof_seen:
                log_response(self.worker, scope, self.peers.client, self.address, status, self.is_websocket)
            return self.answer(status, RETRY_AFTER if status == 503 else b"")
        return self.break_off()

    # Another protocol

    cdef int accept(self, subprotocol, headers) except -1:
        """Answer the handshake, and leave the connection to the WebSocket with all that is not parsed."""
        exchange = <WebSocketExchange>self.exchange
        return self.leave_to(self.handshake.accept(exchange, self.transport, self.writer, subprotocol, headers))

    cdef bint is_served_elsewhere(self) noexcept:
        """Whether the request under way is left to a protocol outside the core, from its first byte."""
        return self.handshake is not None and self.handshake.is_served_elsewhere()

    cdef int hand_over(self) except -1:
        """Leave the connection to the worker's protocol for WebSockets, which answers the handshake as well."""
        cdef Carrier carrier = self.carrier
        if self.eof_seen:
            return self.close()
        rest = self.leave()
        return carrier.hand_over(self.worker.ws_protocol, self.handshake.head + rest)

    cdef int leave_to(self, Handler successor) except -1:
        """Leave the connection to another handler of the core."""
        cdef Carrier carrier = self.carrier
        return carrier.switch_to(successor, self.leave())

    cdef bytes leave(self):
        """Have no more to do with the connection; return what is not parsed."""
        cdef bytes rest = b"" if self.tail is None else self.tail[self.tail_at:]
        self.resting = False
        self.reading = self.writing = CLOSED
        self.exchange = self.carrier = self.tail = self.held = None
        self.resume_reading()
        return rest
