"""What a WebSocket has of a stream (RFC 8441), in place of a connection: a writer, and whose reading it pauses.

Its frames are collected in a buffer of their own, and become one DATA frame at the end of the turn, which leaves with
whatever else the connection has to write. `paused` means that some of it waits for a window, in the stream; while the
client reads nothing of the connection, the rest stays in the buffer.
No credit is given for what comes while the WebSocket has paused reading; as much as the stream's window allows is kept.
Of that the WebSocket gets the beginning and a close frame, for which it waits no longer than it does on a connection.
A fault of the WebSocket resets its stream, and concerns no other.
"""
from ..interfaces cimport Channel
from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from ..transport.writer cimport Writer, set_use
from ..websocket.exchange cimport WebSocketExchange
from ..websocket.handshake cimport Handshake
from ..websocket.frames cimport OP_CLOSE
from ..worker cimport Worker
from .flow cimport Flow, SendingStream

cdef enum:
    SHOWN = 4096  # bytes


cdef WebSocketWriter make_websocket_writer(Bearer stream, Flow flow, Handshake handshake, Worker worker):
    cdef WebSocketWriter self = WebSocketWriter(None, -1, worker.turn, worker.clock)
    self.stream = stream
    self.flow = flow
    self.handshake = handshake
    self.held = True
    return self


cdef class Bearer(SendingStream):
    cdef int send_frames(self, const char* data, Py_ssize_t size, bint last) except -1:
        return 0

    cdef int send_large(self, bytes data) except -1:
        return 0

    cdef int took_frames(self) except -1:
        return 0

    cdef void limit_unsent(self) noexcept:
        pass

    cdef int finish(self) except -1:
        return 0

    cdef int fail(self, bint ours) except -1:
        return 0


cdef class WebSocketWriter(Writer):
    # What the stream asks

    cdef int open(self, WebSocketExchange exchange) except -1:
        """The handshake is accepted, and its response is written."""
        cdef WebSocketWriter kept = self
        cdef Channel channel
        self.exchange = exchange
        self.held = False
        channel = self.handshake.open(exchange, self, self)
        if kept.stream is None:  # it has been reset within that
            return channel.lost()
        self.channel = channel
        return 0 if self.held else self.read_on()

    cdef int feed(self, bytes data) except -1:
        """Bytes have come from the client."""
        cdef WebSocketWriter kept = self  # by nobody else, if this ends the stream
        if self.held:
            if self.is_kept(data):
                return 0
            if self.kept is not None:
                data, self.kept = bytes(self.kept), None
        try:
            kept.channel.feed(data)
        except BaseException as exception:
            return kept.failed(exception)
        return 0 if kept.held or kept.stream is None else kept.stream.took_frames()

    cdef bint is_kept(self, bytes data) except -1:
        """Keep what is not to be shown to the WebSocket, each time with a copy of what it has been shown before."""
        if self.channel is not None and self.kept is None and self.shown < SHOWN:
            self.shown += len(data)
            return False
        if self.kept is None:
            self.kept = bytearray()
        self.kept += data
        if self.channel is None or self.has_closed or data[0] & 0x0F != OP_CLOSE:
            return True
        self.has_closed = True
        return False

    cdef int read_on(self) except -1:
        """Go on with what was kept, and let the client send more."""
        cdef WebSocketWriter owned = self
        kept, self.kept = self.kept, None
        if kept is not None:
            owned.feed(bytes(kept))
        elif self.stream is not None:
            self.stream.took_frames()
        return owned.eof() if self.stream is not None and self.stream.ended else 0

    cdef int eof(self) except -1:
        """The client has sent its last byte, or its last once it is read on."""
        cdef WebSocketWriter kept = self
        if self.channel is None or self.held:
            return 0
        try:
            kept.channel.eof()
        except BaseException as exception:
            return kept.failed(exception)
        return 0

    cdef int drain(self) except -1:
        cdef WebSocketWriter kept = self
        try:
            if self.channel is not None:
                kept.channel.drain()
        except BaseException as exception:
            return kept.failed(exception)
        return 0

    cdef int drained(self) except -1:
        """The client may take more."""
        cdef WebSocketWriter kept = self
        if self.stream is None or self.stream.unsent:
            return 0
        self.paused = False
        try:
            self.write_out()
            if self.channel is not None and not self.must_wait():
                kept.channel.drained()
        except BaseException as exception:
            return kept.failed(exception)
        return 0

    cdef int leave(self) except -1:
        """The stream is closed."""
        cdef Channel channel = self.channel
        Writer.lost(self)
        set_use(self, 0)
        self.stream = None
        kept, self.kept = self.kept, None
        self.exchange = None
        if channel is None:
            return 0
        self.handshake.worker.loop.call_soon(self.let_go)  # one of its methods may be running now
        try:
            if kept is not None:
                channel.feed(bytes(kept))  # so that nothing is lost that the client sent before it left
            channel.lost()
        except BaseException as exception:
            return self.failed(exception)
        return 0

    def let_go(self):
        self.channel = None

    cdef int failed(self, exception) except -1:
        self.handshake.worker.report("Exception in connection", exception)
        return 0 if self.stream is None else self.stream.fail(True)

    # What the WebSocket asks, which takes it for its transport as well

    def pause_reading(self):
        self.held = True

    def resume_reading(self):
        self.held = self.has_closed = False
        self.shown = 0
        self.read_on()

    cdef int commit(self) except -1:
        if self.stream is not None and self.buffer.size > min(self.stream.window, self.flow.window):
            return self.commit_now()  # so that the WebSocket knows at once that it has to wait
        return Writer.commit(self)

    cdef int commit_with(self, bytes data) except -1:
        cdef Bearer stream = self.stream
        cdef Py_ssize_t first = 0
        if self.buffer is not None:
            first = self.committed = self.buffer.size
        if not self.broken:
            # Together, and taken from the buffer before: what is sent may make room, and so have more written at once.
            if first:
                data = PyBytes_FromStringAndSize(self.buffer.data, first) + data
                self.drop_front(first)
            self.total += len(data) - first
            stream.send_large(data)
        else:
            self.drop_front(first)
        self.paused = not self.broken and stream.unsent > 0
        return 0

    cdef int write_out(self) except -1:
        cdef WebSocketWriter kept = self
        cdef Bearer stream = self.stream
        cdef Py_ssize_t size = self.committed
        cdef bint last = self.closing and not self.ended
        cdef bytes data
        if self.broken or self.must_wait() or not (size or last):
            return 0
        self.ended = last
        if size:
            data = PyBytes_FromStringAndSize(self.buffer.data, size)
            self.drop_front(size)  # before, as sending may have more written at once
            stream.send_frames(PyBytes_AS_STRING(data), size, last)
        else:
            stream.send_frames(NULL, 0, last)
        if kept.broken:
            return 0
        self.paused = stream.unsent > 0
        return stream.finish() if last else 0

    cdef void flush(self) noexcept:
        cdef WebSocketWriter kept = self
        try:
            kept.write_out()
        except BaseException as exception:
            kept.handshake.worker.report("Exception in connection", exception)
            kept.abort()

    cdef void end(self) noexcept:
        self.close()

    cdef bint must_wait(self) noexcept:
        return self.paused or self.flow.writer.paused and not self.broken

    cdef bint needs_lingering(self) noexcept:
        return False  # the connection goes on reading

    cdef void limit_unsent(self) noexcept:
        if self.stream is not None:
            self.stream.limit_unsent()

    cdef void abort(self) noexcept:
        cdef WebSocketWriter kept = self
        if self.broken:
            return
        self.closing = True
        try:
            kept.stream.fail(False)
        except BaseException as exception:
            kept.handshake.worker.report("Exception in connection", exception)
