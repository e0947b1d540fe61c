"""What the frames of a client mean (RFC 9113 sections 5 and 6): requests that begin, go on and end, and all else.

A read may bring many frames. All are taken first; the applications of the requests among them start afterwards, in the
turn, and only those whose stream still exists.

Each frame is judged by the stream that it is of, which may be there, be closed, or never have been. A fault of the
connection ends it, one of a stream resets that; a request that turns out to be over a limit gets a response.
"""
import logging

from ..http.exchange cimport HttpExchange
from ..metrics import reason_of
from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from ..worker cimport Worker
from .backlog cimport BACKLOG, unread_size
from .closed cimport COMPLETED, RESET_BY_CLIENT, RESET_BY_US, UNKNOWN, how_closed
from .fields cimport TrailerFields
from .flow cimport Flow, LARGEST_WINDOW
from .frames cimport (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    DATA,
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
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    NEED_MORE,
    NO_RFC7540_PRIORITIES,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    number_at,
    put_head,
    put_ping,
)
from .guard cimport is_padding, note_request, spend_cheap, spend_update
from .hpack cimport Decoder
from .priorities cimport Priorities
from .replies cimport Replies
from .requests cimport Requests
from .stream cimport Http2Stream, StreamCarrier, make_http2_stream
from .streams cimport Streams
from .uploads cimport Uploads

cdef enum:
    MOST_SETTINGS = 32  # in one frame
    LARGEST_TAKEN = 65536  # bytes of payload of the frames that are sent
    READ_AHEAD = 65536  # bytes of one read that are too many to hold while others are read
    LARGE_READ = 8192  # bytes of one read that may be of a large body

cdef int WARNING = logging.WARNING


cdef Reader make_reader(
    Worker worker, FrameParser parser, Flow flow, Replies replies, Uploads uploads, Requests requests, Streams streams
):
    cdef Reader self = Reader.__new__(Reader)
    self.worker = worker
    self.parser = parser
    self.decoder = Decoder.__new__(Decoder)
    self.flow = flow
    self.replies = replies
    self.uploads = uploads
    self.fields = requests.fields
    self.requests = requests
    self.streams = streams
    return self


cdef class FrameCarrier(StreamCarrier):
    cdef int stop_idling(self) except -1:
        return 0

    cdef int begin(self, Http2Stream stream, Py_ssize_t size) except -1:
        return 0

    cdef int pong(self, const unsigned char* data) except -1:
        return 0

    cdef int spend_reset(self) except -1:
        return 0

    cdef int fail(self, int error, const char* reason) except -1:
        return 0


cdef class Reader:
    cdef int read(self, FrameCarrier connection, bytes data) except -1:
        """Take what has come for a connection, which may be closed by it."""
        cdef const unsigned char* position = <const unsigned char*>PyBytes_AS_STRING(data)
        cdef const unsigned char* end = position + PyBytes_GET_SIZE(data)
        cdef int found
        self.flow.guard.total += PyBytes_GET_SIZE(data)
        if PyBytes_GET_SIZE(data) >= READ_AHEAD:
            self.worker.turn.hurried = True
        self.connection = connection
        try:
            while True:
                found = self.parser.next(&position, end)
                if found == NEED_MORE:
                    break
                if found == FAULT:
                    return connection.fail(self.parser.error, self.parser.reason)
                self.take_frame(data)
                if connection.phase == CLOSED:
                    return 0
        finally:
            self.connection = None
        if is_padding(&self.flow.guard):
            return connection.fail(ENHANCE_YOUR_CALM, b"hardly anything but padding")
        if PyBytes_GET_SIZE(data) >= LARGE_READ and self.parser.type == DATA:
            self.uploads.note(self.streams.by_id.get(self.parser.stream), PyBytes_GET_SIZE(data))
        return 0

    cdef int take_frame(self, bytes data) except -1:
        cdef FrameParser parser = self.parser
        if not self.settings_seen:
            if parser.type != SETTINGS or parser.flags & ACK:
                return self.connection.fail(PROTOCOL_ERROR, b"the first frame is not SETTINGS")
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
            if parser.flags & ACK:
                return self.connection.pong(parser.data)
            put_ping(self.replies.room(FRAME_HEAD + 8), ACK, parser.data)
        elif parser.type == PRIORITY:
            if parser.depends_on_itself:
                return self.connection.fail(PROTOCOL_ERROR, b"stream that depends on itself")
        elif parser.type == PRIORITY_UPDATE:
            return self.take_priority_update()
        return 0

    # Requests

    cdef int take_headers(self) except -1:
        cdef FrameParser parser = self.parser
        cdef Http2Stream stream = self.streams.by_id.get(parser.stream)
        cdef bint is_new
        self.flow.guard.payload += parser.size
        if stream is not None:
            return self.take_trailers(stream)
        if not parser.stream & 1:
            return self.connection.fail(PROTOCOL_ERROR, b"stream of the server's")
        is_new = parser.stream > self.last_id
        self.fields.begin(self.worker.settings.limit_request_head, <int>self.worker.settings.limit_request_fields)
        if self.decoder.decode(parser.data, parser.size, self.fields):
            return self.connection.fail(COMPRESSION_ERROR, self.decoder.reason)
        if not is_new:
            return self.take_late()
        self.last_id = parser.stream
        if self.connection.phase == LEFT:
            return 0
        self.fields.finish()
        return self.open_stream()

    cdef int take_trailers(self, Http2Stream stream) except -1:
        cdef FrameParser parser = self.parser
        if self.trailers is None:
            self.trailers = TrailerFields.__new__(TrailerFields)
        self.trailers.begin(self.worker.settings.limit_request_head, <int>self.worker.settings.limit_request_fields)
        if self.decoder.decode(parser.data, parser.size, self.trailers):
            return self.connection.fail(COMPRESSION_ERROR, self.decoder.reason)
        if stream.ended:
            return self.connection.reset(stream, STREAM_CLOSED)
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
        cdef const char* fault = self.fields.malformed
        cdef bytes priority = self.fields.priority
        note_request(&self.flow.guard)
        if self.priorities is not None:
            kept = self.priorities.take(parser.stream)
            if kept is not None:
                priority = kept
            if self.priorities.count() == 0:
                self.priorities = None
        self.connection.stop_idling()
        self.streams.served_id = parser.stream
        if fault == NULL and parser.depends_on_itself:
            fault = b"stream that depends on itself"
        if fault == NULL and ended and self.fields.content_length > 0:
            fault = b"Content-Length without a body"
        if fault != NULL:
            self.worker.metrics.refuse(400, reason_of(400, fault.decode()))
            self.requests.report_client(fault)
            return self.refuse_stream(PROTOCOL_ERROR)
        if self.streams.are_full() or unread_size(self.replies.writer) > BACKLOG:
            return self.refuse_stream(REFUSED_STREAM)
        stream = make_http2_stream(self.connection, parser.stream)
        stream.ended = ended
        if priority is not None:
            self.flow.prioritise(stream, priority)
        self.streams.add(stream)
        return self.connection.begin(stream, FRAME_HEAD + parser.length)

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
                if stream.websocket is not None:
                    limit = 0
                self.uploads.receive(stream, data)
                if limit and stream.received > limit:
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
            self.connection.fail(FLOW_CONTROL_ERROR, b"DATA beyond the window of the connection")
            return 1
        self.flow.guard.payload += size - parser.overhead
        if size == parser.overhead and not parser.flags & END_STREAM and self.spend_cheap():
            return 1
        stream = self.streams.by_id.get(parser.stream)
        if stream is not None and stream.ended:
            self.connection.reset(stream, STREAM_CLOSED)
        elif stream is not None and size > stream.credit:
            self.connection.reset(stream, FLOW_CONTROL_ERROR)
        elif stream is not None:
            return self.uploads.begin(stream)
        else:
            self.take_late()
        if self.connection.phase == CLOSED:
            return 1
        return self.uploads.give_back(size)

    # Other frames

    cdef int take_late(self) except -1:
        """A frame has come for a stream that is not there."""
        cdef FrameParser parser = self.parser
        cdef int how
        if not parser.stream & 1 or parser.stream > self.last_id:
            return self.connection.fail(PROTOCOL_ERROR, b"frame on an idle stream")
        if self.connection.phase == LEFT and parser.stream > self.streams.served_id:
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
                return self.connection.fail(STREAM_CLOSED, b"HEADERS on a closed stream")
            return self.connection.fail(PROTOCOL_ERROR, b"HEADERS that open a stream out of order")
        return self.refuse_stream(STREAM_CLOSED)

    cdef int take_settings(self) except -1:
        cdef FrameParser parser = self.parser
        cdef Py_ssize_t at
        if self.spend_cheap():
            return 0
        if parser.size > 6 * MOST_SETTINGS:
            return self.connection.fail(ENHANCE_YOUR_CALM, b"too many settings")
        for at in range(0, parser.size, 6):
            self.take_setting(parser.data[at] << 8 | parser.data[at + 1], number_at(parser.data + at + 2))
            if self.connection.phase == CLOSED:
                return 0
        return put_head(self.replies.room(FRAME_HEAD), 0, SETTINGS, ACK, 0)

    cdef int take_setting(self, int name, uint32_t value) except -1:
        cdef Http2Stream stream
        cdef long long change
        if name == HEADER_TABLE_SIZE:
            self.flow.encoder.limit(value)
        elif name == ENABLE_PUSH or name == NO_RFC7540_PRIORITIES:
            if value > 1:
                return self.connection.fail(PROTOCOL_ERROR, b"setting that is neither 0 nor 1")
        elif name == MAX_FRAME_SIZE:
            if not 16384 <= value < 1 << 24:
                return self.connection.fail(PROTOCOL_ERROR, b"invalid MAX_FRAME_SIZE")
            self.flow.largest = min(<Py_ssize_t>value, <Py_ssize_t>LARGEST_TAKEN)
        elif name == INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW:
                return self.connection.fail(FLOW_CONTROL_ERROR, b"INITIAL_WINDOW_SIZE over the maximum")
            change = <long long>value - self.flow.first_window
            self.flow.first_window = value
            for stream in list(self.streams.by_id.values()):
                if self.flow.resize(stream, change):
                    return self.connection.fail(FLOW_CONTROL_ERROR, b"window over the maximum")
        return 0

    cdef int take_window_update(self) except -1:
        cdef FrameParser parser = self.parser
        cdef Http2Stream stream = None
        cdef uint32_t more = number_at(parser.data) & 0x7FFFFFFF
        if not spend_update(&self.flow.guard, self.worker.clock.now()):
            return self.connection.fail(ENHANCE_YOUR_CALM, b"too many frames that say little")
        if parser.stream:
            stream = self.streams.by_id.get(parser.stream)
            if stream is None:
                return self.take_late()
        if more == 0:
            if stream is None:
                return self.connection.fail(PROTOCOL_ERROR, b"WINDOW_UPDATE of 0")
            return self.connection.reset(stream, PROTOCOL_ERROR)
        if self.flow.opened(stream, more):
            if stream is None:
                return self.connection.fail(FLOW_CONTROL_ERROR, b"window over the maximum")
            return self.connection.reset(stream, FLOW_CONTROL_ERROR)
        return 0

    cdef int take_reset(self) except -1:
        cdef Http2Stream stream = self.streams.by_id.get(self.parser.stream)
        cdef bint counts
        if stream is None:
            return self.take_late()
        counts = not stream.is_sent()
        self.streams.close(stream, RESET_BY_CLIENT)
        return self.connection.spend_reset() if counts else 0

    cdef int take_priority_update(self) except -1:
        """RFC 9218 section 7.1."""
        cdef FrameParser parser = self.parser
        cdef uint32_t id = number_at(parser.data) & 0x7FFFFFFF
        cdef Http2Stream stream
        cdef bytes value
        if not id & 1:
            return self.connection.fail(PROTOCOL_ERROR, b"PRIORITY_UPDATE of no request")
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
            return self.connection.fail(PROTOCOL_ERROR, b"PRIORITY_UPDATE of too many streams")
        return 0

    # Faults

    cdef int refuse_stream(self, int error) except -1:
        """Reset the stream of the frame, which is not served."""
        self.streams.refuse(self.parser.stream)
        self.replies.reset(self.parser.stream, error)
        return self.connection.spend_reset()

    cdef int malformed(self, Http2Stream stream, const char* reason) except -1:
        self.worker.metrics.refuse(400, reason_of(400, reason.decode()))
        self.requests.report_client(reason)
        return self.connection.reset(stream, PROTOCOL_ERROR)

    cdef int refuse(self, Http2Stream stream, int status) except -1:
        """Answer a request that turns out to be refused with `status`, or break its response off."""
        cdef HttpExchange exchange = stream.exchange
        self.worker.metrics.refuse(status, reason_of(status, ""))
        self.worker.report("Invalid HTTP request received.", None, WARNING)
        if exchange is None or stream.head_has_left():
            return self.connection.reset(stream, CANCEL)
        stream.detach()
        self.streams.leave_behind(exchange)
        return stream.answer(status, b"")

    cdef int spend_cheap(self) except -1:
        """Count a frame that costs the client nothing; 1 where that was one too many."""
        if self.flow.excessive or not spend_cheap(&self.flow.guard, self.worker.clock.now()):
            self.connection.fail(ENHANCE_YOUR_CALM, b"too many frames that say little")
            return 1
        return 0

    cdef int lost(self) except -1:
        self.parser.drop()
        return 0
