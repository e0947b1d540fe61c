"""An HTTP/2 connection (RFC 9113): what it reads, and which streams it has. Only this file assigns `phase`.

phase     OPENING  nothing has come: our own first frames leave with the response to the first that comes
          OPEN     streams are served
          LEAVING  the client has been told to open no more streams (GOAWAY with the highest id); those that it opened
                   before it heard of that are still served, until it answers the PING that followed, or a second has
                   passed; where the server stops and no stream is open, STOP_SECONDS; beyond --limit-connections, no time
          LEFT     it has been told which stream was the last: those up to it are completed, later ones ignored
          CLOSED   nothing is parsed any more

A read may bring many frames. All are parsed first; the applications of the requests among them start afterwards, in the
turn, and only those whose stream still exists. Replies are put into the writer's buffer at once and leave with the turn.
"""
import logging

from libc.string cimport memcmp, strlen

from ..http.exchange cimport HttpExchange
from ..http.version cimport Version
from ..interfaces cimport Carrier, Handler
from ..loop.clock cimport GOING_AWAY, KEEP_ALIVE, REQUEST_HEAD, stop
from ..memory.buffer cimport Buffer
from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from ..transport.lingering cimport begin_lingering
from ..metrics cimport ACTIVE_CONNECTIONS, BY_DRAIN, BY_ERROR, BY_HEAD, BY_KEEP_ALIVE, CLOSING_CONNECTIONS
from ..metrics cimport IDLE_CONNECTIONS
from ..metrics import reason_of
from ..transport.writer cimport Writer, set_use, set_why
from ..worker cimport Worker
from .backlog cimport BACKLOG, make_backlog
from .closed cimport COMPLETED, RESET_BY_CLIENT, RESET_BY_US, UNKNOWN, how_closed
from .fields cimport RequestFields, TrailerFields
from .flow cimport FIRST_WINDOW, LARGEST_WINDOW, make_flow
from .frames cimport (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    DATA,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FAULT,
    FLOW_CONTROL_ERROR,
    FRAME_HEAD,
    FrameParser,
    GOAWAY,
    HEADERS,
    HEADER_TABLE_SIZE,
    INADEQUATE_SECURITY,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    NEED_MORE,
    NO_ERROR,
    NO_RFC7540_PRIORITIES,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    SETTINGS_TIMEOUT,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    number_at,
    put_goaway,
    put_head,
    put_number,
    put_ping,
    put_setting,
)
from .guard cimport is_padding, note_completed, note_request, spend_cheap, spend_reset, spend_update
from .hpack cimport Decoder, Encoder
from .priorities cimport Priorities
from .replies cimport Replies
from .requests cimport make_requests
from .stream cimport Http2Stream, StreamCarrier, make_http2_stream
from .streams cimport make_streams
from .uploads cimport make_uploads

cdef enum:
    OPENING
    OPEN
    LEAVING
    LEFT
    CLOSED

cdef enum:
    NOTHING = -1
    MOST_SETTINGS = 32  # in one frame
    LARGEST_TAKEN = 65536  # bytes of payload of the frames that are sent
    READ_AHEAD = 65536  # bytes of one read that are too many to hold while others are read
    LARGE_READ = 8192  # bytes of one read that may be of a large body

cdef tuple OLD_TLS = ("TLSv1", "TLSv1.1")
cdef unsigned char[8] DRAIN_PING = b"leaving."
cdef double REST_SECONDS = 30  # of a body that nobody wants
cdef double STOP_SECONDS = 0.2  # as long as connections linger then: some clients never answer a PING after GOAWAY
cdef int WARNING = logging.WARNING


cdef class Http2(Version):
    def __cinit__(self):
        self.alpn = "h2"
        self.preface = PREFACE

    cdef Handler begin(self, Worker worker, object transport, Writer writer, Carrier carrier):
        cdef Http2Connection connection = Http2Connection.__new__(Http2Connection)
        connection.worker = worker
        connection.transport = transport
        connection.writer = writer
        connection.parser = FrameParser.__new__(FrameParser)
        connection.decoder = Decoder.__new__(Decoder)
        connection.flow = make_flow(writer, Encoder.__new__(Encoder))
        connection.replies = Replies.__new__(Replies)
        connection.replies.writer = writer
        connection.uploads = make_uploads(worker, transport, connection.parser, connection.replies)
        connection.requests = make_requests(worker, transport, writer, carrier, connection.flow)
        connection.streams = make_streams(worker, connection.uploads)
        encrypted = transport.get_extra_info("ssl_object")
        connection.insecure = encrypted is not None and encrypted.version() in OLD_TLS
        connection.awaited = REQUEST_HEAD
        worker.clock.start(connection, REQUEST_HEAD)
        return connection


cdef Version HTTP2 = Http2()


cdef class Http2Connection(StreamCarrier):
    # Bytes from the client

    cdef int feed(self, bytes data) except -1:
        cdef const unsigned char* position = <const unsigned char*>PyBytes_AS_STRING(data)
        cdef const unsigned char* end = position + PyBytes_GET_SIZE(data)
        cdef int found
        if self.phase == CLOSED:
            if self.lingering is not None:
                self.lingering.heard()
            return 0
        if self.phase == OPENING:
            self.open()
            if self.insecure:
                return self.fail(INADEQUATE_SECURITY, b"TLS before 1.2")
        self.flow.guard.total += PyBytes_GET_SIZE(data)
        if PyBytes_GET_SIZE(data) >= READ_AHEAD:
            self.worker.turn.hurried = True
        while True:
            found = self.parser.next(&position, end)
            if found == NEED_MORE:
                break
            if found == FAULT:
                return self.fail(self.parser.error, self.parser.reason)
            self.take_frame(data)
            if self.phase == CLOSED:
                return 0
        if is_padding(&self.flow.guard):
            return self.fail(ENHANCE_YOUR_CALM, b"hardly anything but padding")
        if PyBytes_GET_SIZE(data) >= LARGE_READ and self.parser.type == DATA:
            self.uploads.note(self.streams.by_id.get(self.parser.stream), PyBytes_GET_SIZE(data))
        return self.settle()

    cdef int open(self) except -1:
        """Send the first frames: what the client has to know of us."""
        cdef Buffer out = self.replies.room(0)
        cdef Py_ssize_t head = self.worker.settings.limit_request_head
        cdef bint takes_protocol = self.requests.fields.takes_protocol
        put_head(out, 24 if takes_protocol else 18, SETTINGS, 0, 0)
        put_setting(out, MAX_CONCURRENT_STREAMS, <uint32_t>self.worker.settings.limit_http2_streams)
        put_setting(out, MAX_HEADER_LIST_SIZE, <uint32_t>min(head, 0x7FFFFFFF))
        put_setting(out, NO_RFC7540_PRIORITIES, 1)
        if takes_protocol:
            put_setting(out, ENABLE_CONNECT_PROTOCOL, 1)
        put_number(out, WINDOW_UPDATE, 0, <uint32_t>(self.uploads.credit - FIRST_WINDOW))
        self.phase = OPEN
        return 0

    cdef int take_frame(self, bytes data) except -1:
        cdef FrameParser parser = self.parser
        if not self.settings_seen:
            if parser.type != SETTINGS or parser.flags & ACK:
                return self.fail(PROTOCOL_ERROR, b"the first frame is not SETTINGS")
            self.settings_seen = True
        if parser.type == DATA:
            return self.take_data(data)
        if parser.type == HEADERS:
            return self.take_headers()
        if parser.type == WINDOW_UPDATE:
            return self.take_window_update()
        if parser.type == RST_STREAM:
            return self.take_reset()
        if parser.type == GOAWAY:
            self.client_leaves = True
            return self.spend_cheap()
        if parser.type == SETTINGS:
            if parser.flags & ACK:
                return self.spend_cheap()
            return self.take_settings()
        if self.spend_cheap():
            return 0
        if parser.type == PING:
            if not parser.flags & ACK:
                put_ping(self.replies.room(FRAME_HEAD + 8), ACK, parser.data)
            elif self.phase == LEAVING and memcmp(parser.data, DRAIN_PING, 8) == 0:
                return self.name_last()
        elif parser.type == PRIORITY:
            if parser.depends_on_itself:
                return self.fail(PROTOCOL_ERROR, b"stream that depends on itself")
        elif parser.type == PRIORITY_UPDATE:
            return self.take_priority_update()
        return 0

    # Requests

    cdef int take_headers(self) except -1:
        cdef FrameParser parser = self.parser
        cdef Http2Stream stream = self.streams.by_id.get(parser.stream)
        cdef RequestFields fields = self.requests.fields
        cdef bint is_new
        self.flow.guard.payload += parser.size
        if stream is not None:
            return self.take_trailers(stream)
        if not parser.stream & 1:
            return self.fail(PROTOCOL_ERROR, b"stream of the server's")
        is_new = parser.stream > self.last_id
        fields.begin(self.worker.settings.limit_request_head, <int>self.worker.settings.limit_request_fields)
        if self.decoder.decode(parser.data, parser.size, fields):
            return self.fail(COMPRESSION_ERROR, self.decoder.reason)
        if not is_new:
            return self.take_late()
        self.last_id = parser.stream
        if self.phase == LEFT:
            return 0
        fields.finish()
        return self.open_stream()

    cdef int take_trailers(self, Http2Stream stream) except -1:
        cdef FrameParser parser = self.parser
        if self.trailers is None:
            self.trailers = TrailerFields.__new__(TrailerFields)
        self.trailers.begin(self.worker.settings.limit_request_head, <int>self.worker.settings.limit_request_fields)
        if self.decoder.decode(parser.data, parser.size, self.trailers):
            return self.fail(COMPRESSION_ERROR, self.decoder.reason)
        if stream.ended:
            return self.reset(stream, STREAM_CLOSED)
        if parser.depends_on_itself:
            return self.malformed(stream, b"stream that depends on itself")
        if not parser.flags & END_STREAM:
            return self.malformed(stream, b"trailers that do not end the stream")
        if self.trailers.malformed != NULL:
            return self.malformed(stream, self.trailers.malformed)
        if self.trailers.over_limit:
            return self.refuse(stream, self.trailers.over_limit)
        return self.end_request(stream)

    cdef int open_stream(self) except -1:
        """HEADERS have come that open a stream."""
        cdef FrameParser parser = self.parser
        cdef Http2Stream stream
        cdef bint ended = parser.flags & END_STREAM
        cdef RequestFields fields = self.requests.fields
        cdef const char* fault = fields.malformed
        cdef bytes priority = fields.priority
        note_request(&self.flow.guard)
        if self.priorities is not None:
            kept = self.priorities.take(parser.stream)
            if kept is not None:
                priority = kept
            if self.priorities.count() == 0:
                self.priorities = None
        if self.awaited == KEEP_ALIVE:
            self.awaited = NOTHING
            stop(self)
        self.streams.serve(parser.stream)
        if fault == NULL and parser.depends_on_itself:
            fault = b"stream that depends on itself"
        if fault == NULL and ended and fields.content_length > 0:
            fault = b"Content-Length without a body"
        if fault != NULL:
            self.worker.metrics.refuse(400, reason_of(400, fault.decode()))
            self.requests.report_client(fault)
            return self.refuse_stream(PROTOCOL_ERROR)
        if self.streams.are_full():
            return self.refuse_stream(REFUSED_STREAM)
        stream = make_http2_stream(self, parser.stream)
        stream.ended = ended
        if priority is not None:
            self.flow.prioritise(stream, priority)
        self.streams.add(stream)
        set_use(self.writer, ACTIVE_CONNECTIONS)
        if self.worker.draining and self.phase == OPEN:
            self.go_away()
        if self.requests.begin(stream, FRAME_HEAD + parser.length) and self.phase == OPEN:
            self.phase = LEAVING  # without the time that go_away() gives
            self.name_last()  # after the response: some clients take nothing that follows it
        return 0

    cdef int end_request(self, Http2Stream stream) except -1:
        if stream.content_length >= 0 and stream.received != stream.content_length:
            return self.malformed(stream, b"body that is not as long as Content-Length says")
        stream.end_request()
        return self.streams.close(stream, COMPLETED) if stream.is_sent() else 0

    # Bodies

    cdef int take_data(self, bytes data) except -1:
        cdef FrameParser parser = self.parser
        cdef Http2Stream stream
        cdef Py_ssize_t limit
        if parser.first and self.begin_data():
            return 0
        stream = self.uploads.receiver
        if stream is not None and parser.size:
            stream.received += parser.size
            limit = self.worker.settings.limit_request_body
            if not stream.takes_data():
                self.uploads.give_back(parser.size)
                if stream.is_sent():
                    self.uploads.discard(stream)
            else:
                self.uploads.receive(stream, data)
                if limit and stream.received > limit and stream.websocket is None:
                    return self.refuse(stream, 413)
            if 0 <= stream.content_length < stream.received:
                return self.malformed(stream, b"body longer than Content-Length")
        if parser.last:
            self.uploads.end()
            if stream is not None and parser.flags & END_STREAM:
                return self.end_request(stream)
        return 0

    cdef int begin_data(self) except -1:
        """A DATA frame begins: count it, and find its stream. 1 where the connection ends instead."""
        cdef FrameParser parser = self.parser
        cdef Http2Stream stream
        cdef Py_ssize_t size = parser.length
        if not self.uploads.spend(size):
            self.fail(FLOW_CONTROL_ERROR, b"DATA beyond the window of the connection")
            return 1
        self.flow.guard.payload += size - parser.overhead
        if size == parser.overhead and not parser.flags & END_STREAM and self.spend_cheap():
            return 1
        stream = self.streams.by_id.get(parser.stream)
        if stream is not None and stream.ended:
            self.reset(stream, STREAM_CLOSED)
        elif stream is not None and size > stream.credit:
            self.reset(stream, FLOW_CONTROL_ERROR)
        elif stream is not None:
            return self.uploads.begin(stream)
        else:
            self.take_late()
        if self.phase == CLOSED:
            return 1
        return self.uploads.give_back(size)

    cdef bint holds_back(self, Http2Stream stream) except -1:
        if self.flow.backlog <= BACKLOG:
            return False
        if self.waiting is None:
            self.waiting = make_backlog(self.worker, self.flow)
        self.waiting.hold(stream)
        return True

    cdef int want_body(self, Http2Stream stream) except -1:
        if stream.ended or self.eof_seen:
            return 0
        self.uploads.want(stream)
        stream.wait_for_body()
        return self.settle()

    cdef int took_body(self, Http2Stream stream, Py_ssize_t left) except -1:
        self.uploads.took(stream, left)
        return self.settle()

    cdef int took_frames(self, Http2Stream stream) except -1:
        self.uploads.took_frames(stream)
        return self.settle()

    # Other frames

    cdef int take_late(self) except -1:
        """A frame has come for a stream that is not there."""
        cdef FrameParser parser = self.parser
        cdef int how
        if not parser.stream & 1 or parser.stream > self.last_id:
            return self.fail(PROTOCOL_ERROR, b"frame on an idle stream")
        if self.phase == LEFT and parser.stream > self.streams.served_id:
            return 0
        if parser.type != WINDOW_UPDATE and self.spend_cheap():
            return 0
        how = how_closed(&self.streams.closed, parser.stream)
        if how == RESET_BY_US or parser.type == WINDOW_UPDATE or parser.type == RST_STREAM:
            return 0
        if how == UNKNOWN and parser.type == DATA:
            return 0
        if parser.type == HEADERS and how != RESET_BY_CLIENT:
            if how == COMPLETED:
                return self.fail(STREAM_CLOSED, b"HEADERS on a closed stream")
            return self.fail(PROTOCOL_ERROR, b"HEADERS that open a stream out of order")
        return self.refuse_stream(STREAM_CLOSED)

    cdef int take_settings(self) except -1:
        cdef FrameParser parser = self.parser
        cdef Py_ssize_t at
        if self.spend_cheap():
            return 0
        if parser.size > 6 * MOST_SETTINGS:
            return self.fail(ENHANCE_YOUR_CALM, b"too many settings")
        for at in range(0, parser.size, 6):
            self.take_setting(parser.data[at] << 8 | parser.data[at + 1], number_at(parser.data + at + 2))
            if self.phase == CLOSED:
                return 0
        return put_head(self.replies.room(FRAME_HEAD), 0, SETTINGS, ACK, 0)

    cdef int take_setting(self, int name, uint32_t value) except -1:
        cdef Http2Stream stream
        cdef long long change
        if name == HEADER_TABLE_SIZE:
            self.flow.encoder.limit(value)
        elif name == ENABLE_PUSH or name == NO_RFC7540_PRIORITIES:
            if value > 1:
                return self.fail(PROTOCOL_ERROR, b"setting that is neither 0 nor 1")
        elif name == MAX_FRAME_SIZE:
            if not 16384 <= value < 1 << 24:
                return self.fail(PROTOCOL_ERROR, b"invalid MAX_FRAME_SIZE")
            self.flow.largest = min(<Py_ssize_t>value, <Py_ssize_t>LARGEST_TAKEN)
        elif name == INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW:
                return self.fail(FLOW_CONTROL_ERROR, b"INITIAL_WINDOW_SIZE over the maximum")
            change = <long long>value - self.flow.first_window
            self.flow.first_window = value
            for stream in list(self.streams.by_id.values()):
                if self.flow.resize(stream, change):
                    return self.fail(FLOW_CONTROL_ERROR, b"window over the maximum")
        return 0

    cdef int take_window_update(self) except -1:
        cdef FrameParser parser = self.parser
        cdef Http2Stream stream = None
        cdef uint32_t more = number_at(parser.data) & 0x7FFFFFFF
        if not spend_update(&self.flow.guard, self.worker.clock.now()):
            return self.fail(ENHANCE_YOUR_CALM, b"too many frames that say little")
        if parser.stream:
            stream = self.streams.by_id.get(parser.stream)
            if stream is None:
                return self.take_late()
        if more == 0:
            if stream is None:
                return self.fail(PROTOCOL_ERROR, b"WINDOW_UPDATE of 0")
            return self.reset(stream, PROTOCOL_ERROR)
        if self.flow.opened(stream, more):
            if stream is None:
                return self.fail(FLOW_CONTROL_ERROR, b"window over the maximum")
            return self.reset(stream, FLOW_CONTROL_ERROR)
        return 0

    cdef int take_reset(self) except -1:
        cdef Http2Stream stream = self.streams.by_id.get(self.parser.stream)
        cdef bint counts
        if stream is None:
            return self.take_late()
        counts = not stream.is_sent()
        self.streams.close(stream, RESET_BY_CLIENT)
        return self.spend_reset() if counts else 0

    cdef int take_priority_update(self) except -1:
        """RFC 9218 section 7.1."""
        cdef FrameParser parser = self.parser
        cdef uint32_t id = number_at(parser.data) & 0x7FFFFFFF
        cdef Http2Stream stream
        cdef bytes value
        if not id & 1:
            return self.fail(PROTOCOL_ERROR, b"PRIORITY_UPDATE of no request")
        value = PyBytes_FromStringAndSize(<const char*>parser.data + 4, parser.size - 4)
        stream = self.streams.by_id.get(id)
        if stream is not None:
            return self.flow.prioritise(stream, value)
        if id <= self.last_id:
            return 0
        if self.priorities is None:
            self.priorities = Priorities.__new__(Priorities)
        self.priorities.keep(id, value)
        if self.priorities.count() + len(self.streams.by_id) > self.worker.settings.limit_http2_streams:
            return self.fail(PROTOCOL_ERROR, b"PRIORITY_UPDATE of too many streams")
        return 0

    # Faults

    cdef int refuse_stream(self, int error) except -1:
        """Reset the stream of the frame, which is not served."""
        self.streams.refuse(self.parser.stream)
        self.replies.reset(self.parser.stream, error)
        return self.spend_reset()

    cdef int malformed(self, Http2Stream stream, const char* reason) except -1:
        self.worker.metrics.refuse(400, reason_of(400, reason.decode()))
        self.requests.report_client(reason)
        return self.reset(stream, PROTOCOL_ERROR)

    cdef int reset(self, Http2Stream stream, int error) except -1:
        """End a stream whose response is not complete."""
        if not self.writer.broken:
            self.replies.reset(stream.id, error)
        self.streams.close(stream, RESET_BY_US)
        self.spend_reset()
        return self.settle()

    cdef int refuse(self, Http2Stream stream, int status) except -1:
        """Answer a request that turns out to be refused with `status`, or break its response off."""
        cdef HttpExchange exchange = stream.exchange
        self.worker.metrics.refuse(status, reason_of(status, ""))
        self.worker.report("Invalid HTTP request received.", None, WARNING)
        if exchange is None or stream.head_has_left():
            return self.reset(stream, CANCEL)
        stream.detach()
        self.streams.leave_behind(exchange)
        return stream.answer(status, b"")

    cdef int spend_cheap(self) except -1:
        """Count a frame that costs the client nothing; 1 where that was one too many."""
        if self.flow.excessive or not spend_cheap(&self.flow.guard, self.worker.clock.now()):
            self.fail(ENHANCE_YOUR_CALM, b"too many frames that say little")
            return 1
        return 0

    cdef int spend_reset(self) except -1:
        if not spend_reset(&self.flow.guard, self.worker.clock.now()):
            self.fail(ENHANCE_YOUR_CALM, b"too many streams that were reset")
            return 1
        return 0

    cdef int fail(self, int error, const char* reason) except -1:
        """The client broke the protocol, or wants too much: say so, and close."""
        if self.phase == CLOSED:
            return 0
        set_why(self.writer, BY_ERROR)
        self.worker.report("Invalid HTTP request received.", None, WARNING)
        self.requests.report_client(reason)
        put_goaway(self.replies.room(FRAME_HEAD + 8 + strlen(reason)), self.streams.served_id, error, reason)
        return self.close()

    # The end of streams

    cdef int sent(self, Http2Stream stream) except -1:
        """All of a response is written: the stream is complete, or the rest of its request is not wanted.

        Many clients see their response only when they have sent all of it, and some take a reset before that for a
        failure. So it is received and discarded as long as it keeps coming, for as long as a connection over HTTP/1.1
        lingers. Then the client is told to stop (section 8.1).
        """
        note_completed(&self.flow.guard)
        if stream.ended:
            self.streams.close(stream, COMPLETED)
        else:
            if stream.credit < FIRST_WINDOW:
                self.uploads.reopen(stream)
            stream.begin_discarding(STOP_SECONDS if self.worker.stopping else REST_SECONDS)
        return self.settle()

    cdef int overdue(self, Http2Stream stream) except -1:
        if stream.ended and stream.ends_sent:
            self.streams.close(stream, COMPLETED)  # whatever its application still sends
            return self.settle()
        if not stream.is_sent():
            return self.reset(stream, CANCEL)
        self.replies.reset(stream.id, NO_ERROR)
        self.streams.close(stream, RESET_BY_US)
        return self.settle()

    # The connection

    cdef int settle(self) except -1:
        """Let replies leave, send what may now be sent, and wait for what comes next."""
        if self.replies.put and self.replies.leave():
            self.requests.report_client(b"replies that are not read")
            self.writer.abort()
            return 0
        if self.phase == CLOSED:
            return 0
        if self.flow.due:
            self.flow.pump()
            if self.phase == CLOSED:
                return 0
        if self.waiting is not None:
            self.waiting.start_some(self.requests)
        if self.flow.excessive:
            return self.fail(ENHANCE_YOUR_CALM, b"windows that cut bodies into very small pieces")
        return self.await_next()

    cdef int await_next(self) except -1:
        """Set the deadline for what is missing, if it is another one than before."""
        cdef int kind = NOTHING
        cdef double latest
        if self.phase == LEAVING and self.awaited == GOING_AWAY:
            if self.worker.stopping and not self.streams.by_id and not self.hurried:
                self.hurried = True
                latest = min(self.deadline.when, self.worker.clock.now() + STOP_SECONDS)
                self.worker.clock.start_before(self, GOING_AWAY, latest)
            return 0
        if not self.streams.by_id and (self.phase == LEFT or self.phase != LEAVING and (self.client_leaves or self.eof_seen)):
            return self.close()
        if not self.streams.by_id and self.writer.use == ACTIVE_CONNECTIONS:
            set_use(self.writer, IDLE_CONNECTIONS)
        if not self.settings_seen or self.parser.in_block():
            kind = REQUEST_HEAD
        elif not self.streams.by_id and self.phase == OPEN:
            kind = KEEP_ALIVE
        if kind != self.awaited:
            self.awaited = kind
            stop(self)
            if kind != NOTHING:
                self.worker.clock.start(self, kind)
        return 0

    cdef void expired(self, int kind) noexcept:
        self.awaited = NOTHING
        try:
            if kind != GOING_AWAY:
                set_why(self.writer, BY_KEEP_ALIVE if kind == KEEP_ALIVE else BY_HEAD)
            if kind == KEEP_ALIVE:
                self.go_away()
            elif kind == GOING_AWAY:
                self.name_last()
            elif self.settings_seen:
                self.fail(ENHANCE_YOUR_CALM, b"header block that did not end in time")
            elif self.phase == OPENING:
                self.close()
            else:
                self.fail(SETTINGS_TIMEOUT, b"no SETTINGS in time")
            self.settle()
        except BaseException as exception:
            self.worker.report("Exception in connection", exception)
            self.writer.abort()

    cdef int go_away(self) except -1:
        """Have the client open no more streams (section 6.8): what it sends before it hears of that is served."""
        if self.phase == OPENING:
            return self.close()
        if self.phase != OPEN:
            return 0
        self.phase = LEAVING
        put_goaway(self.replies.room(FRAME_HEAD + 8), 0x7FFFFFFF, NO_ERROR, b"")
        put_ping(self.replies.room(FRAME_HEAD + 8), 0, DRAIN_PING)
        self.awaited = GOING_AWAY
        self.worker.clock.start(self, GOING_AWAY)
        return 0

    cdef int name_last(self) except -1:
        """Say which stream was the last that is served."""
        if self.phase != LEAVING:
            return 0
        self.phase = LEFT
        put_goaway(self.replies.room(FRAME_HEAD + 8), self.streams.served_id, NO_ERROR, b"")
        stop(self)
        self.awaited = NOTHING
        return 0

    cdef int close(self) except -1:
        """Close after what is written; while the client may still be sending, only the writing side at first."""
        if self.phase == CLOSED:
            return 0
        self.phase = CLOSED
        set_use(self.writer, CLOSING_CONNECTIONS)
        self.uploads.close()
        self.waiting = None
        self.streams.close_all()
        stop(self)
        self.settle()
        if self.eof_seen or self.writer.broken:
            self.writer.close()
            return 0
        self.resume_reading()
        self.lingering = begin_lingering(self.worker, self.writer, False)
        return 0

    cdef bint eof(self) except -1:
        cdef Http2Stream stream
        self.eof_seen = True
        if self.phase == CLOSED:
            return False
        for stream in list(self.streams.by_id.values()):
            if stream.ended and stream.ends_sent:
                self.streams.close(stream, COMPLETED)  # no write will ever show whether the client is still there
            else:
                stream.client_ended()
        self.end_blocked()
        if self.streams.by_id:
            return True
        if self.writer.committed or self.writer.paused:
            self.close()
            return True
        self.phase = CLOSED  # as the transport is from here on
        stop(self)
        return False

    cdef int end_blocked(self) except -1:
        """The client has sent its last byte: what waits for a window will never leave."""
        cdef Http2Stream stream
        if self.eof_seen and not self.writer.paused:
            for stream in list(self.streams.by_id.values()):
                if stream.unsent:
                    self.overdue(stream)
        return 0

    cdef int lost(self) except -1:
        stop(self)
        self.phase = CLOSED
        self.uploads.lost()
        if self.lingering is not None:
            self.lingering.lost()
        self.waiting = None
        self.streams.close_all()
        self.parser.drop()
        self.requests.lost()
        return 0

    cdef int drain(self) except -1:
        cdef Http2Stream stream
        if self.lingering is not None:
            return self.lingering.hurry()
        for stream in list(self.streams.by_id.values()):
            stream.drain()
            if self.worker.stopping:
                stream.hurry(STOP_SECONDS)
        set_why(self.writer, BY_DRAIN)
        self.go_away()
        return self.settle()

    cdef int end_streams(self, list tasks) except -1:
        """Break off responses that have begun and do not say where they end; wake who waits for the client to go."""
        cdef Http2Stream stream
        cdef HttpExchange exchange
        for stream in list(self.streams.by_id.values()):
            exchange = stream.exchange
            if exchange is None:
                continue
            if not stream.is_endless():
                if exchange.body_taken and exchange.waits():
                    exchange.disconnected()
                continue
            if exchange.task is not None:
                tasks.append(exchange.task)
            self.replies.reset(stream.id, CANCEL)
            stream.count_as(stream.extent.facts.status, False)
            self.streams.close(stream, RESET_BY_US)
        return self.settle()

    cdef int drained(self) except -1:
        cdef Http2Stream stream
        self.replies.drained()
        if self.phase == CLOSED:
            return 0
        self.flow.pump()
        for stream in list(self.streams.by_id.values()):
            stream.drained()
        self.end_blocked()
        return self.settle()

    cdef int rest(self) except -1:
        if self.resting or self.eof_seen:
            return 0
        self.resting = True
        self.transport.pause_reading()
        return 1

    cdef int rested(self) except -1:
        return self.resume_reading()

    cdef int resume_reading(self) except -1:
        if self.resting and not self.eof_seen:
            self.resting = False
            self.transport.resume_reading()
        return 0
