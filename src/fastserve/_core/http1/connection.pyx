"""What an HTTP/1 connection reads, and in which order requests follow (RFC 9112). Only this file assigns `reading`.

reading   INIT    between two requests
          HEAD    a head has begun to arrive
          BODY    the head is parsed, the body is arriving
          DONE    the request under way is complete; what follows it is kept in `tail` and not parsed yet
          CLOSED  nothing is parsed any more

One exchange is under way at a time. Its request is complete (reading DONE) and its response is complete (writing DONE,
see http1/response.pyx) in either order; then answered() goes on to the next one or closes. A request that follows is
parsed only then, so responses leave in order and nothing after a bad request is ever executed. While some of a complete
response waits for the client, drained() goes on in its place: a client that sends requests and reads nothing would have
the responses pile up.

A body error is handled after the application's first step, even if head and body arrived in one read: the outcome does
not depend on how the bytes were cut.

A client that ends its side (half-close) still gets its response. The application sees http.disconnect in receive(),
because a client that is gone altogether looks the same until something is written to it.
"""
import logging

from libc.string cimport memcmp

from ..http.access_log cimport address_text
from ..http.admission cimport wait_in_queue
from ..http.exchange cimport HttpExchange, attach_account, make_exchange, needs_scope
from ..http.methods cimport counted_as
from ..http.request cimport Request
from ..http.response cimport TO_WAIT, fields_of_refusal, refused
from ..http.scope cimport Peers, http_scope, peers_of, unseen_scope
from ..http.static cimport StaticFiles, make_static_exchange
from ..http.version cimport Version
from ..interfaces cimport Carrier, DirectApplication, Handler
from ..llhttp cimport HTTP_GET, HTTP_HEAD
from ..loop.clock cimport GOODBYE, KEEP_ALIVE, REQUEST_BODY, REQUEST_HEAD, stop
from ..loop.turn cimport Runnable
from ..metrics cimport ACTIVE_CONNECTIONS, BY_BODY, BY_DRAIN, BY_ERROR, BY_HEAD, BY_KEEP_ALIVE, CLOSING_CONNECTIONS
from ..metrics cimport IDLE_CONNECTIONS, WS_REFUSED, fastserve_add, key_of
from ..metrics import reason_of
from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from ..system cimport fastserve_peer_ended
from ..transport.lingering cimport close_or_linger
from ..transport.writer cimport Writer, set_use, set_why
from ..websocket.exchange cimport WebSocketExchange, make_websocket_exchange
from ..websocket.handshake cimport Handshake, read_handshake
from ..worker cimport Worker
from .parser cimport BODY as FOUND_BODY, DONE as FOUND_DONE, FAULT, HEAD as FOUND_HEAD, NEED_MORE, Parser
from .response cimport Http1Response, Incoming, make_http1_response

cdef enum:
    INIT
    HEAD
    BODY
    DONE
    CLOSED

cdef enum:
    READ_AHEAD = 65536  # bytes of body, or of requests after the one under way, beyond which reading stops
    DISCARD = 1 << 20  # bytes of an unwanted body that are read in order to keep the connection

cdef int WARNING = logging.WARNING, DEBUG = logging.DEBUG


cdef class Http1(Version):
    def __cinit__(self):
        self.alpn = "http/1.1"
        self.preface = b""

    cdef Handler begin(self, Worker worker, object transport, Writer writer, Carrier carrier):
        cdef Http1Connection connection = Http1Connection.__new__(Http1Connection)
        connection.worker = worker
        connection.transport = transport
        connection.writer = writer
        connection.carrier = carrier
        connection.parser = Parser.__new__(Parser, worker.settings)
        connection.response = make_http1_response(worker, writer, connection)
        worker.clock.start(connection, REQUEST_HEAD)
        return connection


cdef Version HTTP1 = Http1()


cdef inline HttpExchange new_exchange(Http1Connection self, dict scope, dict environ, bytes static):
    cdef HttpExchange exchange
    cdef Http1Response response = self.response
    if static is not None:
        exchange = make_static_exchange(self.worker, response, scope, static)
    elif self.handshake is None:
        exchange = make_exchange(self.worker, response, scope)
    else:
        exchange = make_websocket_exchange(self.worker, response, scope)
    exchange.environ = environ
    exchange.expect_continue = response.expect_continue
    exchange.head_at = response.began
    response.exchange = exchange
    if response.account is not None:
        attach_account(exchange, response.account)
    return exchange


cdef class Refusal(Runnable):
    cdef void run(self) noexcept:
        self.connection.refuse_now(self.status)


cdef class Http1Connection(Incoming):
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
        cdef const char* before
        cdef int found
        while True:
            before = position
            found = self.parser.next(&position, end)
            self.taken += position - before
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
        """Make the exchange of a complete head."""
        cdef Worker worker = self.worker
        cdef Request request = self.parser.request
        cdef Http1Response response = self.response
        cdef bytes static = None
        cdef dict scope = None, environ = None
        cdef int status = 0
        stop(self)
        if response.peers is None:
            response.peers = peers_of(self.transport, self.writer.fd, worker)
            if worker.access is not None or worker.accounts:
                response.address = address_text(response.peers.client)
        self.reading = BODY if request.has_body() else DONE
        self.content_length = request.content_length
        set_use(self.writer, ACTIVE_CONNECTIONS)
        response.begin(request)
        response.begin_counting(key_of(counted_as[request.method], request.minor, response.peers.encrypted))
        request.noting = worker.notes_requests and response.peers.proxies is None  # proxies change scopes
        self.handshake = read_handshake(request, worker) if request.upgrade else None
        if worker.settings.health_path is not None and asks_for_health(request, worker.settings.health_path):
            self.handshake = None
            self.parser.release_head()
            self.telling = True
            try:
                return response.tell_health()
            finally:
                self.telling = False
        if self.handshake is None:
            if worker.static is not None:
                static = (<StaticFiles>worker.static).match(request.head + request.path.start, request.path.size)
            if static is None and not needs_scope(worker):
                environ = (<DirectApplication>worker.direct).environ_of(request, response.peers)
            if worker.scope_is_seen:
                scope = http_scope(request, response.peers, worker.settings, worker.state)
            elif environ is None:
                scope = unseen_scope(request, response.peers, worker.settings)
        else:
            if worker.traced is not None:
                self.carrier.trace_upgrade(self.is_served_elsewhere())
            scope = self.handshake.scope(request, response.peers)
            status = self.handshake.status
            response.is_handshake(not status)
            if status:
                fastserve_add(worker.metrics.cells + WS_REFUSED, 1)
        if response.peers.proxies is not None:
            response.peers.proxies.note_wait(request, worker.metrics)
            if scope is not None and scope["scheme"] in ("https", "wss"):
                response.key |= 1
        if worker.accounts:
            response.open_account(scope, request)
        self.parser.release_head()
        if status or request.is_https or worker.settings.hosts is not None or worker.active >= worker.room:
            return self.begin_with_care(request, scope, environ, static)
        if self.is_served_elsewhere():
            return 0  # parse() hands the whole request over at its end
        return worker.turn.submit_in_order(new_exchange(self, scope, environ, static), self.batch)

    cdef int begin_with_care(self, Request request, dict scope, dict environ, bytes static) except -1:
        """Refuse a request, queue it, or begin it."""
        cdef Worker worker = self.worker
        cdef bytes fields = b""
        cdef HttpExchange exchange
        cdef str reason = ""
        cdef int status = refused(worker, request, self.response.peers, scope, self.carrier)
        if status and status != TO_WAIT:
            fields = fields_of_refusal(status)
        elif self.handshake is not None and self.handshake.status:
            status, fields, reason = self.handshake.status, self.handshake.fields, "drain"
        if status and status != TO_WAIT:
            worker.metrics.refuse(status, reason_of(status, reason))
            self.response.log(scope, status)
            return self.response.answer(status, fields)
        if self.is_served_elsewhere():
            return 0
        exchange = new_exchange(self, scope, environ, static)
        if status == TO_WAIT and static is None:
            return wait_in_queue(exchange, exchange, None)
        return worker.turn.submit_in_order(exchange, self.batch)

    cdef int deliver(self, bytes data) except -1:
        cdef Py_ssize_t size = self.parser.body_size
        cdef HttpExchange exchange = self.response.exchange
        cdef bytes piece
        stop(self)
        if exchange is None:
            self.worker.clock.start(self, REQUEST_BODY)
            return 0
        # A piece that is the whole read is passed on as it is.
        piece = data if size == len(data) else PyBytes_FromStringAndSize(self.parser.body_data, size)
        # Body not taken by the time of the next read is more than the application keeps up with.
        if exchange.buffered > READ_AHEAD:
            self.pause_reading()
        if size >= READ_AHEAD:
            self.worker.turn.hurried = True
        return exchange.put_body(piece)

    cdef int end_request(self) except -1:
        cdef HttpExchange exchange = self.response.exchange
        if exchange is not None:
            stop(self)
            self.reading = DONE
            return exchange.end_body()
        if self.response.is_complete():  # the rest of a body that nobody wanted
            self.reading = INIT
            self.taken = 0
            if self.writer.must_wait():
                self.reading = DONE
                stop(self)
        return 0

    cdef int wait_for_more(self) except -1:
        """Wait: all input is parsed, and a request is incomplete."""
        if self.reading == BODY:
            if self.response.exchange is not None and self.response.exchange.queued:
                self.pause_reading()
            return 0
        if self.eof_seen:
            return self.close()
        if not self.parser.in_head:
            self.worker.clock.start(self, GOODBYE if self.worker.draining else KEEP_ALIVE)
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
        """Read again, unless enough is buffered."""
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
        if self.response.exchange is not None:
            if self.response.is_silent() and self.reading == DONE and self.tail is None:
                self.break_off()  # no write will ever show whether the client is still there
            else:
                self.response.exchange.disconnected()
            return True
        if self.is_held_up() and self.tail is not None:
            return True  # the requests in it came before the end
        if self.writer.committed or self.writer.paused:
            stop(self)
            self.break_off()
            return True
        return False

    cdef int lost(self) except -1:
        stop(self)
        self.reading = CLOSED
        self.tail = None
        if self.lingering is not None:
            self.lingering.lost()
        self.parser.release_head()
        self.carrier = None
        return self.response.lost()

    # Refusing

    cdef int refuse(self, int status) except -1:
        """Respond to a protocol error with `status` if a response can still be sent, and close."""
        cdef Refusal refusal
        stop(self)
        self.reading = CLOSED
        self.tail = None
        set_why(self.writer, BY_ERROR)
        self.worker.metrics.refuse(status, reason_of(status, self.parser.reason.decode()))
        self.worker.report("Invalid HTTP request received.", None, WARNING)
        self.report_client(self.parser.reason.decode())
        if self.response.exchange is None or self.response.exchange.started:
            return self.refuse_now(status)
        refusal = Refusal.__new__(Refusal)
        refusal.connection = self
        refusal.status = status
        return self.worker.turn.submit(refusal)

    cdef int report_client(self, str what) except -1:
        """Log at debug level what the client did wrong, and its address."""
        cdef bytes address = self.response.address
        if address is None:
            address = address_text(peers_of(self.transport, self.writer.fd, self.worker).client)
        self.worker.report(f"{what} ({address.decode() or 'client without an address'})", None, DEBUG)
        return 0

    cdef int refuse_now(self, int status) except -1:
        cdef Http1Response response = self.response
        if response.is_closed():
            return 0
        if response.exchange is None:
            # In the body of a request that already has its response, or in a head.
            return self.close() if self.parser.in_body else response.answer(status, b"")
        if response.head_has_left():
            return self.break_off()
        response.detach()
        return response.answer(status, b"")

    cdef int close(self) except -1:
        """Close after what is written; at first only the writing side if the client may still be sending."""
        cdef bint linger = not self.eof_seen and self.reading != INIT
        cdef bint more = self.reading != DONE and not self.response.is_http10
        if self.response.is_closed():
            return 0
        set_use(self.writer, CLOSING_CONNECTIONS)
        if self.worker.draining:
            set_why(self.writer, BY_DRAIN)
        self.writer.is_last = self.reading == DONE and self.response.is_last and self.tail is None
        self.reading = CLOSED
        self.response.end()
        self.tail = None
        stop(self)
        self.lingering = close_or_linger(self, self.worker, self.writer, linger, more)
        return 0

    cdef void expired(self, int kind) noexcept:
        if kind == REQUEST_BODY:
            if self.response.exchange is None or self.response.exchange.waits():
                set_why(self.writer, BY_BODY)
        else:
            set_why(self.writer, BY_KEEP_ALIVE if kind == KEEP_ALIVE else BY_HEAD)
        if kind == REQUEST_HEAD and self.reading == HEAD:
            self.worker.metrics.refuse(408, "timeout")
            self.report_client("request head not complete in time")
            self.response.answer(408, b"")
        elif kind != REQUEST_BODY or self.response.exchange is None or self.response.exchange.waits():
            self.writer.discard(self.writer.committed)
            self.break_off()

    cdef int drain(self) except -1:
        """Close unless a request is under way. An incomplete head does not count as one."""
        if self.response.exchange is not None:
            return self.response.exchange.stopping()
        if self.lingering is not None:
            return self.lingering.hurry()
        if self.is_held_up() and self.worker.replaced:
            return 0  # answered() knows
        set_why(self.writer, BY_DRAIN)
        if self.reading == BODY:
            return self.close()
        if self.worker.replaced and self.deadline.next != NULL and self.deadline.kind == GOODBYE:
            return 0
        stop(self)
        return self.break_off()

    cdef int break_off(self) except -1:
        """Close after what is written, at any point of a response."""
        self.reading = CLOSED
        set_use(self.writer, CLOSING_CONNECTIONS)
        self.response.end()
        self.writer.close()
        return self.response.detach()

    cdef int end_streams(self, list tasks) except -1:
        """Break off a response that has begun and declares no end; wake an application waiting for the client to go."""
        cdef HttpExchange exchange = self.response.exchange
        if exchange is None:
            return 0
        if not self.response.is_endless():
            if exchange.body_taken and exchange.waits():
                exchange.disconnected()
            return 0
        set_why(self.writer, BY_DRAIN)
        self.response.count_as(self.response.extent.facts.status, False)
        self.break_off()
        if exchange.task is not None:
            tasks.append(exchange.task)
            if self.writer.paused:
                self.writer.abort()  # what is queued has no end either, and the client may never take it
        return 0

    cdef int drained(self) except -1:
        self.response.drained()
        return self.answered() if self.is_held_up() and not self.writer.must_wait() else 0

    cdef bint is_held_up(self) noexcept:
        """Return whether a complete response was, or is, to be taken by the client before anything else."""
        return self.reading == DONE and self.response.exchange is None and self.response.is_complete()

    cdef bint ends_connection(self) noexcept:
        return self.reading == DONE and self.response.is_last and self.response.exchange is not None

    # What the response asks

    cdef bint expects_body(self) noexcept:
        return self.reading == BODY

    cdef bint body_may_be_discarded(self) noexcept:
        return 0 < self.content_length <= self.parser.body_total + DISCARD

    cdef int want_body(self) except -1:
        if not self.eof_seen and self.deadline.next == NULL:  # one deadline, however often receive() is cancelled
            self.worker.clock.start(self, REQUEST_BODY)
        return 0

    cdef int took_body(self, Py_ssize_t left) except -1:
        return self.resume_reading()

    cdef bint resume(self) except -1:
        if self.read_paused and self.reading == BODY:
            if fastserve_peer_ended(self.writer.fd):
                self.break_off()
                return False
            self.resume_reading()
        return True

    cdef int answered(self) except -1:
        cdef Worker worker = self.worker
        if not self.response.keep_alive or self.reading == CLOSED or worker.stopping and not worker.replaced:
            return self.close()
        self.batch = worker.turn.batches
        if self.reading == BODY:
            if self.eof_seen or worker.draining:
                return self.close()
            self.resume_reading()
            self.worker.clock.start(self, REQUEST_BODY)
            return 0
        if self.writer.must_wait():
            return 0
        set_use(self.writer, IDLE_CONNECTIONS)
        self.reading = INIT
        self.taken = 0
        if self.telling:
            return 0  # parse() goes on
        if self.tail is None:
            self.wait_for_more()
        else:
            tail, self.tail = self.tail, None
            self.parse(<bytes>tail, self.tail_at)
            if self.eof_seen and self.response.exchange is not None and self.reading != CLOSED:
                self.response.exchange.disconnected()  # the end came before this request began
        return 0 if self.reading == CLOSED else self.resume_reading()

    # Another protocol

    cdef int accept(self, subprotocol, headers) except -1:
        """Respond to the handshake, and leave the connection with all unparsed bytes to the WebSocket."""
        exchange = <WebSocketExchange>self.response.exchange
        if exchange.account is not None:
            exchange.account.received = self.taken
            headers = exchange.with_id(headers)
        channel = self.handshake.accept(exchange, self.transport, self.writer, subprotocol, headers)
        self.response.count_as(101, False)
        return self.leave_to(channel)

    cdef bint is_served_elsewhere(self) noexcept:
        """Return whether a protocol outside the core serves the request under way, from its first byte."""
        return self.handshake is not None and self.handshake.is_served_elsewhere()

    cdef int hand_over(self) except -1:
        """Leave the connection to the worker's protocol for WebSockets, which responds to the handshake as well."""
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
        """Release the connection. Return the unparsed bytes."""
        cdef bytes rest = b"" if self.tail is None else self.tail[self.tail_at:]
        self.resting = False
        self.reading = CLOSED
        self.carrier = self.tail = None
        self.response.leave()
        self.resume_reading()
        return rest


cdef bint asks_for_health(Request request, bytes path) noexcept:
    return (
        request.path.size == PyBytes_GET_SIZE(path)
        and (request.method == HTTP_GET or request.method == HTTP_HEAD)
        and memcmp(request.head + request.path.start, PyBytes_AS_STRING(path), request.path.size) == 0
    )
