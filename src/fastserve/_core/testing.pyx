"""What tests and benchmarks use of the core's classes and functions that Python cannot call.

No other module uses this one.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from .http.methods cimport method_name
from .http.request cimport Field, Request
from .http.response_head cimport CLOSE, NO_CONNECTION, HeadFacts, end_head, start_head
from .http.scope cimport Peers, http_scope
from .http1.parser cimport BODY, DONE, FAULT, HEAD, Parser
from .loop.clock cimport Clock
from .memory.buffer cimport Buffer, give, take
from .settings cimport Settings
from .websocket cimport deflate, frames
from .websocket.deflate cimport negotiate
from .websocket.frames cimport (
    WS_BINARY,
    WS_NEED_MORE,
    WS_PING,
    WS_PONG,
    WS_TEXT,
    put_close,
    put_frame,
    put_message,
)
from .websocket.utf8 cimport Utf8, check_utf8

cdef tuple EVENTS = ("", "text", "binary", "ping", "pong", "close", "fault")


def parse(Settings settings, inputs):
    """Return the events that a parser finds in `inputs`, an iterable of bytes.

    Events are tuples: ("head", method, target, minor version, fields, keep-alive), ("body", bytes), ("done",) and
    ("fault", status, reason).
    """
    cdef Parser parser = Parser(settings)
    cdef const char* position
    cdef const char* end
    cdef int found
    cdef bytes data
    events = []
    for data in inputs:
        position = data
        end = position + len(data)
        found = HEAD
        while position < end and found != FAULT:
            found = parser.next(&position, end)
            if found & HEAD:
                events.append(head_event(parser.request))
            if found & BODY:
                events.append(("body", parser.body_data[:parser.body_size]))
            if found & DONE:
                events.append(("done",))
            if found & FAULT:
                events.append(("fault", parser.status, parser.reason.decode()))
                return events
    return events


cdef tuple head_event(Request request):
    cdef Field* field
    cdef Py_ssize_t index
    fields = []
    for index in range(request.count):
        field = &request.fields[index]
        fields.append((
            request.head[field.name.start:field.name.start + field.name.size],
            request.head[field.value.start:field.value.start + field.value.size],
        ))
    target = request.head[request.target.start:request.target.start + request.target.size]
    return ("head", method_name(request.method), target, request.minor, fields, bool(request.keep_alive))


def scope_of(Settings settings, bytes request, Peers peers, dict state):
    """Return the scope for this complete request head, None if it is refused."""
    cdef Parser parser = Parser(settings)
    cdef const char* position = request
    cdef const char* end = position + len(request)
    if not parser.next(&position, end) & HEAD:
        return None
    return http_scope(parser.request, peers, settings, state)


def encode_head(Settings settings, Clock clock, status, headers, content_length=None, chunked=False):
    """Return the bytes of a response head."""
    cdef HeadFacts facts
    cdef Buffer out = Buffer()
    start_head(out, &facts, status, headers)
    if content_length is None:
        content_length = facts.content_length
    end_head(out, &facts, settings, clock, content_length, chunked, CLOSE if facts.close else NO_CONNECTION)
    return out.data[:out.size]


def first_invalid(pieces):
    """Return the number of the first piece that is not UTF-8, None when all are.

    For a text that ends within a sequence, this is the number after the last.
    """
    cdef Utf8 state
    cdef Py_ssize_t number = 0
    cdef bytes piece
    state.left = 0
    for piece in pieces:
        if not check_utf8(&state, <const unsigned char*>PyBytes_AS_STRING(piece), len(piece)):
            return number
        number += 1
    return number if state.left else None


cdef class FrameReader(frames.FrameReader):
    def feed(self, bytes data):
        """Return the events in these bytes, each a tuple of its name and what comes with it."""
        cdef const char* position = PyBytes_AS_STRING(data)
        cdef const char* end = position + len(data)
        cdef int found = self.next(&position, end)
        cdef list events = []
        while found != WS_NEED_MORE:
            if found == WS_TEXT or found == WS_BINARY:
                events.append((EVENTS[found], self.message))
            elif found == WS_PING or found == WS_PONG:
                events.append((EVENTS[found], self.payload))
            else:
                events.append((EVENTS[found], self.code, self.reason))
            found = self.next(&position, end)
        return events

    def holds(self):
        """Return how many bytes are kept for an incomplete message."""
        return PyBytes_GET_SIZE(<object>self.held) if self.held != NULL else 0


cdef class Inflater(deflate.Inflater):
    def feed(self, bytes payload, Py_ssize_t limit):
        """Return a whole message, or the first limit + 1 bytes of a longer one."""
        cdef bytes message = self.inflate(payload + b"\x00\x00\xff\xff", limit, True)
        self.end_message()
        return message


cdef class Deflater(deflate.Deflater):
    def feed(self, bytes data):
        """Return the payload of a message, whatever its size."""
        return self.deflate(PyBytes_AS_STRING(data), len(data))

    def forget(self):
        """Free the context."""
        self.release()


def negotiation(values):
    """Return what negotiate() returns."""
    return negotiate(values)


def frame(int opcode, bytes data, bint compressed=False):
    """Return a frame."""
    cdef Buffer out = take()
    put_frame(out, opcode, compressed, PyBytes_AS_STRING(data), len(data))
    return taken(out)


def message(int opcode, bytes data, deflate.Deflater deflater=None):
    """Return the frame of a message."""
    cdef Buffer out = take()
    put_message(out, opcode, PyBytes_AS_STRING(data), len(data), deflater)
    return taken(out)


def close(int code, bytes reason):
    """Return a close frame."""
    cdef Buffer out = take()
    try:
        put_close(out, code, reason)
    finally:
        data = taken(out)
    return data


cdef bytes taken(Buffer out):
    cdef bytes data = out.data[:out.size]
    give(out)
    return data
