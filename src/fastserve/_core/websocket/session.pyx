"""The state machine of a WebSocket (RFC 6455 sections 5 to 7). Only this file assigns `state`.

state    OPEN     messages go both ways
         CLOSING  our close frame is sent, and the client's is awaited; anything else that arrives is dropped
         CLOSED   nothing is parsed or sent any more, and the connection ends

The exchange is told once that the WebSocket is closed, when it leaves OPEN; then the channel and the exchange drop
their references to each other. Messages are parsed only while the exchange has room for them. What follows them is kept
in `tail` and reading stops; both go on when the application takes a message, even if the connection has been lost
since, so that nothing is lost that a client sent before it closed. For the same reason a fault closes the WebSocket
only when the application asks for the next message after those before the fault, but at most HOLD_SECONDS later. The
same holds for a close frame that arrives in one read with messages: whether they get a response does not depend on the
cuts. A close frame that arrives alone gets its response at once, even while an application deals with earlier messages;
then send() raises.
"""
import logging

from ..counters cimport live_counts
from ..interfaces cimport Channel, Pending, Shared
from ..loop.clock cimport WS_CLOSE, WS_FAREWELL, WS_HOLD, WS_PING, WS_PONG, stop
from ..metrics cimport BY_DRAIN, BY_ERROR, BY_PING, CLOSING_CONNECTIONS, RECEIVED, WEBSOCKET_CONNECTIONS
from ..metrics cimport WS_RECEIVED, WS_RECEIVED_BYTES, WS_SENT, WS_SENT_BYTES, fastserve_add
from ..python cimport PyBytes_AS_STRING, PyBytes_GET_SIZE, PyObject, PyUnicode_AsUTF8AndSize
from ..system cimport fastserve_receive
from ..threads cimport fastserve_count
from ..transport.lingering cimport close_or_linger
from ..transport.writer cimport Writer, set_use, set_why
from ..worker cimport Worker
from .deflate cimport Parameters, deflater_for, inflater_for
from .exchange cimport WebSocketExchange
from .frames cimport (
    MAX_CONTROL,
    NO_STATUS,
    OP_BINARY,
    OP_CLOSE,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    PROTOCOL_ERROR,
    WS_BINARY,
    WS_CLOSE as FOUND_CLOSE,
    WS_NEED_MORE,
    WS_PING as FOUND_PING,
    WS_PONG as FOUND_PONG,
    WS_TEXT,
    FrameReader,
    put_close,
    put_frame,
    put_header,
    put_message,
    valid_code,
)

cdef extern from "memory/prefetch.h":
    void fastserve_prefetch(const void* object) nogil
    void fastserve_prefetch_all(const void* object) nogil

cdef enum:
    LARGE = 16384  # a message of this size is written without a copy
    UNREAD_SIZE = 65536  # bytes of messages that the application has not taken, beyond which none are parsed
    # Of a message: as many as 16 MiB have at 64 bytes each.
    MAX_FRAGMENTS = 1 << 18
    ABNORMAL_CLOSURE = 1006
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013

cdef int INFO = logging.INFO
cdef int TRACE = 5  # a level of fastserve.logging


cdef WebSocket make_websocket(
    Worker worker, object transport, Writer writer, WebSocketExchange exchange, Parameters parameters
):
    cdef WebSocket self = WebSocket.__new__(WebSocket)
    inflater = None
    if parameters is not None:
        inflater = inflater_for(parameters)
        self.deflater = deflater_for(parameters)
    self.reader = FrameReader(worker.settings.ws_max_size, MAX_FRAGMENTS, inflater)
    self.open(worker, transport, writer, exchange)
    return self


cdef int code_ahead(Py_ssize_t left, const char* data, Py_ssize_t size) noexcept:
    """Return the code of the first close frame after `left` bytes of a payload, or 0. Parses nothing."""
    cdef const unsigned char* at = <const unsigned char*>data
    cdef const unsigned char* end = at + size
    cdef Py_ssize_t header, length, index
    if left > size:
        return 0
    at += left
    while end - at >= 6 and at[1] & 0x80:
        header = 6
        length = at[1] & 0x7F
        if length > MAX_CONTROL:
            header += 2 if length == 126 else 8
            if end - at < header:
                return 0
            length = 0
            for index in range(2, header - 4):
                length = length << 8 | at[index]
        if not 0 <= length <= end - at - header:
            return 0
        if at[0] & 0x0F == OP_CLOSE:
            if length < 2:
                return PROTOCOL_ERROR if length else NO_STATUS
            index = (at[6] ^ at[2]) << 8 | (at[7] ^ at[3])
            return index if valid_code(index) else PROTOCOL_ERROR
        at += header + length
    return 0


cdef inline bint logs_connections(Worker worker) except -1:
    """Return whether uvicorn has lines of connections, which are its library's: it has none with wsproto."""
    return worker.ws_framing is None or not getattr(worker.ws_framing, "quiet", False)


cdef class WebSocket(Channel):
    def __cinit__(self):
        fastserve_count(&live_counts.websocket, 1)

    def __dealloc__(self):
        fastserve_count(&live_counts.websocket, -1)

    cdef int open(self, Worker worker, transport, Writer writer, WebSocketExchange exchange) except -1:
        """Begin, after the handshake."""
        self.worker = worker
        self.transport = transport
        self.writer = writer
        self.exchange = exchange
        exchange.opened(self)
        set_use(writer, WEBSOCKET_CONNECTIONS)
        if logs_connections(worker):
            worker.report("connection open", None, INFO)
        worker.clock.start(self, WS_PING)
        return self.drain() if worker.draining else 0

    # Bytes from the client

    cdef int feed(self, bytes data) except -1:
        if self.state == CLOSED:
            if self.lingering is not None:
                self.lingering.heard()
            return 0
        if self.exchange is not None and self.exchange.account is not None:
            self.exchange.account.received += len(data)
        if not self.behind:
            self.parse(data, 0, False)
            if self.deadline.kind == WS_PONG and self.deadline.next != NULL and self.in_frame():
                # The pong cannot arrive before the end of the frame that is arriving.
                self.worker.clock.start(self, WS_PONG)
            return self.look_ahead() if self.behind else 0
        self.tail = data if self.tail is None else self.tail[self.tail_at:] + data
        self.tail_at = 0
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        return self.look_ahead()

    cdef int parse(self, bytes data, Py_ssize_t at, bint fed) except -1:
        """Parse `data` from `at` on; `fed`: messages came with it."""
        cdef FrameReader reader = self.reader
        cdef const char* first = data
        cdef const char* position = first + at
        cdef const char* end = first + len(data)
        cdef int found
        while True:
            if position < end and self.full():
                self.behind = True
                self.tail = data
                self.tail_at = position - first
                return 0
            found = reader.next(&position, end)
            if found == WS_NEED_MORE:
                found = self.read_on()
            if found == WS_NEED_MORE:
                return 0
            if found == WS_TEXT or found == WS_BINARY:
                fed = True
                if self.exchange is not None:
                    self.exchange.put(reader.message, found == WS_TEXT)
                    self.count_received(reader.delivered)
                    if self.exchange.unread_size >= UNREAD_SIZE:
                        self.worker.turn.hurried = True
                reader.message = None
            elif found == FOUND_PING:
                self.found_ping(reader.payload)
            elif found == FOUND_PONG:
                self.found_pong(reader.payload)
            elif found == FOUND_CLOSE:
                if fed:
                    return self.hold(reader.code, reader.reason, True)
                return self.found_close(reader.code, reader.reason)
            else:
                return self.hold(reader.code, reader.reason, False)

    cdef int read_on(self) except -1:
        """Receive the rest of a large message into its place, as far as it has arrived, and return what was found.

        This saves a copy, and the loop a poll for each piece. Everything else on the socket is left to the loop.
        """
        cdef Py_ssize_t size = 0
        cdef char* target
        cdef int found = WS_NEED_MORE
        if self.writer.fd < 0 or self.writer.broken or self.read_paused or self.eof_seen:
            return WS_NEED_MORE
        while found == WS_NEED_MORE:
            target = self.reader.room_for_more(&size)
            if target == NULL:
                break
            size = fastserve_receive(self.writer.fd, target, size)
            if size <= 0:
                break
            if self.exchange is not None and self.exchange.account is not None:
                self.exchange.account.received += size
            fastserve_add(self.writer.cells + RECEIVED, size)
            found = self.reader.filled(size)
        return found

    cdef bint in_frame(self) noexcept:
        """Return whether the client is in the middle of a frame."""
        return self.reader.in_frame

    cdef bint expects_much(self, Py_ssize_t size) noexcept:
        """Return whether the client is in the middle of a message of at least this size."""
        cdef FrameReader reader = self.reader
        return reader is not None and reader.kind != WS_NEED_MORE and reader.received + reader.left >= size

    cdef bint full(self) noexcept:
        """Return whether the exchange has as many messages as it may keep."""
        cdef WebSocketExchange exchange = self.exchange
        return exchange is not None and exchange.unread and (
            exchange.unread >= self.worker.settings.ws_max_queue or exchange.unread_size >= UNREAD_SIZE
        )

    cdef int taken(self) except -1:
        return self.go_on() if self.behind else 0

    cdef int go_on(self) except -1:
        """Parse what was kept, as far as there is room, and then read again."""
        cdef bytes data
        data, self.tail = self.tail, None
        self.behind = False
        self.parse(b"" if data is None else data, self.tail_at if data is not None else 0, True)
        if self.behind or self.state == CLOSED:
            return 0
        if self.eof_seen:
            return self.client_ended()
        return self.resume_reading()

    cdef int rest(self) except -1:
        if self.read_paused or self.eof_seen:
            return 0
        self.resting = self.read_paused = True
        self.transport.pause_reading()
        return 1

    cdef int rested(self) except -1:
        self.resting = False
        return 0 if self.behind else self.resume_reading()

    cdef int resume_reading(self) except -1:
        if self.read_paused and not self.eof_seen and not self.resting:
            self.read_paused = False
            self.transport.resume_reading()
        return 0

    cdef int found_ping(self, bytes payload) except -1:
        """Send a pong; while the client does not read, only for the newest ping, later (RFC 6455 section 5.5.3)."""
        if self.state != OPEN:
            return 0
        if self.writer.must_wait():
            self.owed_pong = payload
            return 0
        return self.put_control(OP_PONG, payload)

    cdef int found_pong(self, bytes payload) except -1:
        if self.state == OPEN and self.pings and not self.code_ahead and payload == self.ping_payload():
            self.worker.clock.start(self, WS_PING)
        return 0

    cdef int found_close(self, int code, str reason) except -1:
        if self.state == OPEN:
            self.put_close_frame(code, "")
            self.leave(code, reason)
        return self.shut(False)

    cdef int look_ahead(self) except -1:
        """Limit the wait of a close frame that follows messages for which there is no room."""
        cdef Py_ssize_t left = self.payload_left()
        if self.code_ahead or self.tail is None or self.state != OPEN or left < 0:
            return 0
        self.code_ahead = code_ahead(
            left, PyBytes_AS_STRING(self.tail) + self.tail_at, PyBytes_GET_SIZE(self.tail) - self.tail_at
        )
        if self.code_ahead:
            self.worker.clock.start(self, WS_HOLD)
        return 0

    cdef Py_ssize_t payload_left(self) noexcept:
        """Return how much of a frame's payload is still to be parsed; negative in the middle of a frame's header."""
        if self.reader.head_size or self.reader.ended:
            return -1
        return self.reader.left if self.reader.in_frame else 0

    cdef int hold(self, int code, str reason, bint close) except -1:
        """Close for what the client sent, once the application has dealt with the messages before it."""
        self.held_code = code
        self.held_reason = reason
        self.held_close = close
        if self.exchange is None or not self.exchange.busy():
            return self.end_held()
        if not self.code_ahead:
            self.worker.clock.start(self, WS_HOLD)
        return 0

    cdef int end_held(self) except -1:
        if self.held_close:
            return self.found_close(self.held_code, self.held_reason)
        return self.fail(self.held_code, self.held_reason)

    cdef int wanted(self) except -1:
        return self.end_held() if self.held_code else 0

    cdef int fail(self, int code, str reason) except -1:
        """Close for a fault (RFC 6455 section 7.1.7), and discard what the client is still sending."""
        set_why(self.writer, BY_ERROR)
        if self.state == OPEN:
            self.put_close_frame(code, reason)
            self.leave(code, reason)
        return self.shut(True)

    # The end

    cdef bint eof(self) except -1:
        if self.state == CLOSED:
            self.writer.close()
            return True
        self.eof_seen = True
        if not self.behind:
            self.client_ended()
        return True

    cdef int client_ended(self) except -1:
        """Close: the client has sent its last byte, with or without a close frame before it."""
        if self.held_code:
            return self.end_held()
        self.leave(ABNORMAL_CLOSURE, "")
        return self.shut(False)

    cdef int lost(self) except -1:
        stop(self)
        if self.lingering is not None:
            self.lingering.lost()
            self.lingering = None
        self.eof_seen = True
        self.detach()
        if logs_connections(self.worker):
            self.worker.report("connection closed", None, INFO)
        if not self.behind:
            return self.client_ended()
        # An application that waits in send() would never take the messages.
        return self.exchange.writable() if self.exchange is not None else 0

    cdef int drain(self) except -1:
        set_why(self.writer, BY_DRAIN)
        if self.state == CLOSING and not self.eof_seen and not self.writer.must_wait():
            self.worker.clock.start(self, WS_FAREWELL)
        return self.close_with(SERVICE_RESTART, "")

    cdef int close_with(self, int code, str reason) except -1:
        """Begin the closing handshake (RFC 6455 section 7.1.2), and tell the exchange at once."""
        if self.lingering is not None and self.worker.stopping:
            return self.lingering.hurry()
        if self.state != OPEN:
            return 0
        self.put_close_frame(code, reason)
        self.state = CLOSING
        self.leave(code, reason)
        if self.held_code:
            return self.shut(not self.held_close)
        if not self.eof_seen:
            self.worker.clock.start(self, WS_FAREWELL if self.worker.stopping and not self.writer.must_wait() else WS_CLOSE)
        return self.go_on()

    cdef int leave(self, int code, str reason) except -1:
        self.detach()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self.count(<WebSocketExchange>exchange)
            self.worker.metrics.closed(code)
            (<WebSocketExchange>exchange).closed(code, reason)
        return 0

    cdef void count(self, WebSocketExchange exchange) noexcept:
        """Note what has been written, in the account of an exchange that ends."""
        if exchange.account is not None:
            exchange.account.sent = exchange.account.body = self.writer.given() - exchange.account.mark

    cdef int shut(self, bint linger) except -1:
        """End the connection after what is written; after a fault, its writing side first."""
        if self.state == CLOSED:
            return 0
        self.state = CLOSED
        set_use(self.writer, CLOSING_CONNECTIONS)
        self.tail = None
        self.behind = False
        stop(self)
        if not self.writer.broken:
            self.lingering = close_or_linger(self, self.worker, self.writer, linger and not self.eof_seen, False)
        return 0

    cdef void expired(self, int kind) noexcept:
        try:
            if kind == WS_PING:
                self.ping()
            elif kind == WS_HOLD and self.behind:
                # The application can still take the messages before it.
                self.put_close_frame(self.code_ahead, "")
                self.writer.close()
            elif kind == WS_PONG and self.behind:
                self.worker.clock.start(self, WS_PONG)  # the pong may be in `tail`
            elif self.held_code and self.state == OPEN:
                self.end_held()
            elif kind == WS_PONG:
                set_why(self.writer, BY_PING)
                if self.worker.traced is not None:
                    self.trace_timeout()
                self.fail(INTERNAL_ERROR, "keepalive ping timeout")
            else:
                self.writer.abort()
        except Exception as exception:
            self.worker.report("Exception in connection", exception)
            self.writer.abort()

    cdef int trace_timeout(self) except -1:
        found = None
        if hasattr(self.transport, "get_protocol"):  # a stream of HTTP/2 has none
            found = self.worker.traced.get(self.transport.get_protocol())
        prefix = "" if found is None else found[0]
        self.worker.report(f"{prefix}WebSocket keepalive ping timeout", None, TRACE)
        return 0

    cdef int ping(self) except -1:
        cdef bint expects_pong = self.worker.settings.ws_ping_timeout > 0
        if self.writer.must_wait():
            expects_pong = False  # a client that does not read already has a deadline
        else:
            self.pings += 1
            self.put_control(OP_PING, self.ping_payload())
        self.worker.clock.start(self, WS_PONG if expects_pong else WS_PING)
        return 0

    cdef bytes ping_payload(self):
        return b"%08x" % self.pings

    # Frames to the client

    cdef void count_received(self, Py_ssize_t size) noexcept:
        fastserve_add(self.writer.cells + WS_RECEIVED, 1)
        fastserve_add(self.writer.cells + WS_RECEIVED_BYTES, size)

    cdef void count_sent(self, Py_ssize_t size) noexcept:
        fastserve_add(self.writer.cells + WS_SENT, 1)
        fastserve_add(self.writer.cells + WS_SENT_BYTES, size)

    cdef bint must_wait(self) noexcept:
        return self.writer.must_wait() and not self.writer.broken

    cdef bint broken(self) noexcept:
        return self.writer.broken or self.writer.closing

    cdef int drained(self) except -1:
        if self.owed_pong is not None and self.state == OPEN and not self.writer.must_wait():
            payload, self.owed_pong = self.owed_pong, None
            self.put_control(OP_PONG, payload)
        if self.pending is not None:
            self.pending.flush()
        return self.exchange.writable() if self.exchange is not None else 0

    cdef int send_text(self, str text) except -1:
        cdef Py_ssize_t size
        cdef const char* data = PyUnicode_AsUTF8AndSize(text, &size)
        self.count_sent(size)
        if self.pending is not None:
            self.pending.pour(False)
        if size >= LARGE and self.deflater is None:
            return self.put_large(OP_TEXT, text.encode())
        put_message(self.writer.output(), OP_TEXT, data, size, self.deflater)
        return self.writer.commit()

    cdef int send_bytes(self, bytes data) except -1:
        self.count_sent(PyBytes_GET_SIZE(data))
        if self.pending is not None:
            self.pending.pour(False)
        if PyBytes_GET_SIZE(data) >= LARGE and self.deflater is None:
            return self.put_large(OP_BINARY, data)
        put_message(self.writer.output(), OP_BINARY, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), self.deflater)
        return self.writer.commit()

    cdef int put_large(self, int opcode, bytes data) except -1:
        put_header(self.writer.output(), opcode, False, PyBytes_GET_SIZE(data))
        return self.writer.commit_with(data)

    cdef int put_control(self, int opcode, bytes payload) except -1:
        if self.broken():
            return 0
        put_frame(self.writer.output(), opcode, False, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        return self.writer.commit_reply()

    cdef int put_close_frame(self, int code, str reason) except -1:
        if self.broken():
            return 0
        if self.pending is not None:
            self.pending.pour(True)
            self.commit_shared()
        try:
            put_close(self.writer.output(), code, reason.encode())
        except ValueError:
            self.writer.discard(self.writer.committed)
            raise
        return self.writer.commit()

    # Topics

    cdef Pending attach(self, Pending pending):
        if self.pending is None:
            self.pending = pending
            self.writer.limit_unsent()
        return self.pending

    cdef int detach(self) except -1:
        pending, self.pending = self.pending, None
        return 0 if pending is None else (<Pending>pending).ended()

    cdef int put_shared(self, Shared message, bint alone) except -1:
        cdef int bits = 0
        cdef bytes frame
        self.count_sent(message.size)
        if self.deflater is not None and self.deflater.worthwhile(message.size):
            # The client's inflater goes on from this frame, which was made in a fresh context, and so ours begins again.
            self.deflater.release()
            bits = self.deflater.bits
        frame = message.frame(bits)
        if self.exchange is not None and self.exchange.account is not None:
            self.exchange.account.messages_out += 1
        if alone and self.writer.fd >= 0 or PyBytes_GET_SIZE(frame) >= LARGE:
            return self.writer.commit_with(frame)
        return self.writer.output().append_bytes(frame)

    cdef int commit_shared(self) except -1:
        return 0 if self.writer.buffer is None else self.writer.commit_now()

    cdef void fetch_shared(self) noexcept:
        fastserve_prefetch_all(<PyObject*>self.writer)
        fastserve_prefetch(<PyObject*>self.exchange)

    cdef int cut(self) except -1:
        return self.close_with(TRY_AGAIN_LATER, "slow consumer")
