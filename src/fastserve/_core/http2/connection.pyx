"""An HTTP/2 connection (RFC 9113): how it begins, what it waits for, how it ends. Only this file assigns `phase`.

phase     OPENING  nothing has come: our own first frames leave with the response to the first that comes
          OPEN     streams are served
          LEAVING  the client has been told to open no more streams (GOAWAY with the highest id); those that it opened
                   before it heard of that are still served, until it answers the PING that followed, or a second has
                   passed; where the server stops and no stream is open, STOP_SECONDS; beyond --limit-connections, no time
          LEFT     it has been told which stream was the last: those up to it are completed, later ones ignored
          CLOSED   nothing is parsed any more
"""
import logging

from libc.stdint cimport uint32_t
from libc.string cimport memcmp, strlen

from ..http.exchange cimport HttpExchange
from ..http.version cimport Version
from ..interfaces cimport Carrier, Handler
from ..loop.clock cimport GOING_AWAY, KEEP_ALIVE, REQUEST_HEAD, stop
from ..memory.buffer cimport Buffer
from ..transport.lingering cimport begin_lingering
from ..metrics cimport ACTIVE_CONNECTIONS, BY_DRAIN, BY_ERROR, BY_HEAD, BY_KEEP_ALIVE, CLOSING_CONNECTIONS
from ..metrics cimport IDLE_CONNECTIONS
from ..transport.writer cimport Writer, set_use, set_why
from ..worker cimport Worker
from .backlog cimport is_behind, make_backlog
from .closed cimport COMPLETED, RESET_BY_US
from .flow cimport FIRST_WINDOW, make_flow
from .frames cimport (
    CANCEL,
    ENABLE_CONNECT_PROTOCOL,
    ENHANCE_YOUR_CALM,
    FRAME_HEAD,
    FrameParser,
    INADEQUATE_SECURITY,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    NO_RFC7540_PRIORITIES,
    PREFACE,
    SETTINGS,
    SETTINGS_TIMEOUT,
    WINDOW_UPDATE,
    put_goaway,
    put_head,
    put_number,
    put_ping,
    put_setting,
)
from .guard cimport note_completed, spend_reset
from .hpack cimport Encoder
from .reader cimport CLOSED, FrameCarrier, LEAVING, LEFT, OPEN, OPENING, make_reader
from .replies cimport Replies
from .requests cimport make_requests
from .stream cimport Http2Stream
from .streams cimport make_streams
from .uploads cimport make_uploads

cdef enum:
    NOTHING = -1

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
        cdef FrameParser parser = FrameParser.__new__(FrameParser)
        connection.worker = worker
        connection.transport = transport
        connection.writer = writer
        connection.flow = make_flow(writer, Encoder.__new__(Encoder))
        connection.replies = Replies.__new__(Replies)
        connection.replies.writer = writer
        connection.uploads = make_uploads(worker, transport, parser, connection.replies)
        connection.requests = make_requests(worker, transport, writer, carrier, connection.flow)
        connection.streams = make_streams(worker, connection.uploads)
        connection.reader = make_reader(
            worker, parser, connection.flow, connection.replies, connection.uploads, connection.requests, connection.streams
        )
        encrypted = transport.get_extra_info("ssl_object")
        connection.insecure = encrypted is not None and encrypted.version() in OLD_TLS
        connection.awaited = REQUEST_HEAD
        worker.clock.start(connection, REQUEST_HEAD)
        return connection


cdef Version HTTP2 = Http2()


cdef class Http2Connection(FrameCarrier):
    # Bytes from the client

    cdef int feed(self, bytes data) except -1:
        if self.phase == CLOSED:
            if self.lingering is not None:
                self.lingering.heard()
            return 0
        if self.phase == OPENING:
            self.open()
            if self.insecure:
                return self.fail(INADEQUATE_SECURITY, b"TLS before 1.2")
        self.reader.read(self, data)
        return 0 if self.phase == CLOSED else self.settle()

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

    # What the reader of its frames asks

    cdef int stop_idling(self) except -1:
        if self.awaited == KEEP_ALIVE:
            self.awaited = NOTHING
            stop(self)
        return 0

    cdef int begin(self, Http2Stream stream, Py_ssize_t size) except -1:
        set_use(self.writer, ACTIVE_CONNECTIONS)
        if self.worker.draining and self.phase == OPEN:
            self.go_away()
        if self.requests.begin(stream, size) and self.phase == OPEN:
            self.phase = LEAVING  # without the time that go_away() gives
            self.name_last()  # after the response: some clients take nothing that follows it
        return 0

    cdef int pong(self, const unsigned char* data) except -1:
        return self.name_last() if self.phase == LEAVING and memcmp(data, DRAIN_PING, 8) == 0 else 0

    # What its streams ask

    cdef bint holds_back(self, Http2Stream stream) except -1:
        if not is_behind(self.flow, self.writer):
            return False
        if self.waiting is None:
            self.waiting = make_backlog(self.worker, self.flow, self.writer)
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

    # Faults

    cdef int reset(self, Http2Stream stream, int error) except -1:
        """End a stream whose response is not complete."""
        self.close_by_reset(stream, error)
        self.spend_reset()
        return self.settle()

    cdef int cut(self, Http2Stream stream) except -1:
        self.close_by_reset(stream, CANCEL)
        return self.settle()

    cdef int close_by_reset(self, Http2Stream stream, int error) except -1:
        if not self.writer.broken:
            self.replies.reset(stream.id, error)
        self.streams.close(stream, RESET_BY_US)
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
        if not self.streams.by_id and (self.phase == LEFT or self.phase != LEAVING and (self.reader.client_leaves or self.eof_seen)):
            return self.close()
        if not self.streams.by_id and self.writer.use == ACTIVE_CONNECTIONS:
            set_use(self.writer, IDLE_CONNECTIONS)
        if not self.reader.settings_seen or self.reader.parser.in_block():
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
            elif self.reader.settings_seen:
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
        self.reader.lost()
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
