# setup.py: cold
"""A WebSocket whose frames a library written in Python makes and reads: see fastserve.protocols.

The library responds to pings and close frames itself; the state machine does everything else, as with the core's
frames.
"""
from ..interfaces cimport Shared
from ..loop.clock cimport monotonic, stop
from ..loop.turn cimport SHARE_SECONDS
from ..python cimport PyBytes_AS_STRING
from ..transport.writer cimport Writer
from ..worker cimport Worker
from .exchange cimport WebSocketExchange
from .frames cimport OP_PING, OP_PONG
from .session cimport OPEN, WebSocket

cdef enum:
    PIECE = 1024  # bytes read at a time: a hundred frames or more, and a library takes up to 0.1 ms for each
    PLAIN_PIECE = 16384  # of the payload of one frame
    DEFLATED_PIECE = 4096  # the same if it is compressed: it may inflate to a thousand times as many bytes


cdef FramedWebSocket make_framed(
    Worker worker, object transport, Writer writer, WebSocketExchange exchange, object framing
):
    cdef FramedWebSocket self = FramedWebSocket.__new__(FramedWebSocket)
    self.framing = framing
    self.events = []
    self.open(worker, transport, writer, exchange)
    return self


cdef class FramedWebSocket(WebSocket):
    cdef int parse(self, bytes data, Py_ssize_t at, bint fed) except -1:
        cdef Py_ssize_t size = len(data), step
        cdef double since = 0
        while self.events or at < size:
            if self.full():
                return self.leave_rest(data, at)
            if self.events:
                if self.handle(self.events.pop()):
                    return 0
                continue
            if since == 0:
                since = monotonic()
            elif monotonic() - since > SHARE_SECONDS:
                # There may be any number of frames that are not for the application.
                self.worker.loop.call_soon(self.parse_on)
                return self.leave_rest(data, at)
            step = self.piece()
            self.events = self.framing.receive(data[at:at + step])
            self.events.reverse()
            self.follow(<const unsigned char*>PyBytes_AS_STRING(data) + at, min(step, size - at))
            at += step
            self.partial = not self.put_output() and not self.events
        if self.writer.paused and self.state == OPEN:
            self.behind = True
        return 0

    cdef Py_ssize_t piece(self) noexcept:
        """Return how many bytes the library may be given at once: it cannot be interrupted."""
        cdef unsigned long long most = PLAIN_PIECE if self.framing.extensions is None else DEFLATED_PIECE
        return PIECE if self.head_size or self.left < PIECE else <Py_ssize_t>min(self.left, most)

    cdef int leave_rest(self, bytes data, Py_ssize_t at) except -1:
        self.behind = True
        self.tail = data if at < len(data) else None
        self.tail_at = at
        return 0

    def parse_on(self):
        """Go on with the rest, after a turn of the loop."""
        self.worker.turn.enter()
        try:
            if self.behind and not self.full():
                self.go_on()
        except BaseException as exception:
            self.worker.report("Exception in connection", exception)
            self.writer.abort()
        finally:
            self.worker.turn.leave()

    cdef int look_ahead(self) except -1:
        """End the connection once the library has responded to a close frame, as it does at once."""
        if self.events and self.events[0][0] == "close":
            stop(self)
            self.writer.close()
            return 0
        return WebSocket.look_ahead(self)

    cdef Py_ssize_t payload_left(self) noexcept:
        return -1 if self.head_size else <Py_ssize_t>self.left

    cdef void follow(self, const unsigned char* at, Py_ssize_t size) noexcept:
        cdef const unsigned char* end = at + size
        cdef int length, wanted, index
        while at < end:
            if self.left:
                size = <Py_ssize_t>min(self.left, <unsigned long long>(end - at))
                self.left -= size
                at += size
                continue
            self.head[self.head_size] = at[0]
            self.head_size += 1
            at += 1
            if self.head_size < 2:
                continue
            length = self.head[1] & 0x7F
            wanted = 2 + (0 if length < 126 else 2 if length == 126 else 8)
            if self.head_size < wanted + (4 if self.head[1] & 0x80 else 0):
                continue
            self.left = length if length < 126 else 0
            for index in range(2, wanted):
                self.left = self.left << 8 | self.head[index]
            self.head_size = 0

    cdef bint in_frame(self) noexcept:
        return self.partial

    cdef bint full(self) noexcept:
        """Be full also while the client does not read: the library responds to each ping, and pongs would pile up."""
        return self.writer.paused or WebSocket.full(self)

    cdef int drained(self) except -1:
        if self.behind and not self.full():
            self.go_on()
        return WebSocket.drained(self)

    cdef int lost(self) except -1:
        WebSocket.lost(self)
        return self.go_on() if self.behind and not self.full() else 0

    cdef int handle(self, tuple event) except -1:
        """Do what an event asks for. Return nonzero after the last one."""
        kind = event[0]
        if kind == "text" or kind == "bytes":
            if self.exchange is not None:
                self.exchange.put(event[1], kind == "text")
                self.count_received(len(event[1].encode("utf-8", "replace") if kind == "text" else event[1]))
        elif kind == "pong":
            self.found_pong(event[1])
        elif kind == "close":
            self.leave(event[1], event[2])
            self.shut(False)
            return 1
        elif kind == "fault":
            self.leave(event[1], event[2])
            self.shut(True)
            return 1
        return 0

    cdef int put_output(self) except -1:
        """Send what the library has to send. Return nonzero if there was something."""
        cdef bytes data = self.framing.output()
        if data and not self.broken():
            self.writer.output().append_bytes(data)
            self.writer.commit()
        return len(data) > 0

    cdef int send_text(self, str text) except -1:
        if self.pending is not None:
            self.pending.pour(False)
        self.count_sent(len(text.encode("utf-8", "surrogatepass")))
        self.framing.send_text(text)
        return self.put_output()

    cdef int send_bytes(self, bytes data) except -1:
        if self.pending is not None:
            self.pending.pour(False)
        self.count_sent(len(data))
        self.framing.send_bytes(data)
        return self.put_output()

    cdef int put_control(self, int opcode, bytes payload) except -1:
        if opcode == OP_PING and not self.broken():
            self.framing.ping(payload)
        return self.put_output()

    cdef int put_close_frame(self, int code, str reason) except -1:
        if self.broken():
            return 0
        if self.pending is not None:
            self.pending.pour(True)
        self.framing.close(code, reason)
        return self.put_output()

    cdef int put_shared(self, Shared message, bint alone) except -1:
        cdef bytes data
        self.count_sent(message.size)
        if type(message.data) is str:
            self.framing.send_text(message.data)
        else:
            self.framing.send_bytes(message.data)
        data = self.framing.output()
        if self.exchange is not None and self.exchange.account is not None:
            self.exchange.account.messages_out += 1
        return self.writer.output().append_bytes(data)
