# setup.py: once
"""What tests and benchmarks use of the core's classes and functions that Python cannot call.

No other module uses this one.
"""
from libc.stdint cimport uint32_t

from .http.methods cimport method_name
from .http.request cimport Field, Request
from .http.response_head cimport CLOSE, NO_CONNECTION, HeadFacts, end_head, start_head
from .http.scope cimport Peers, http_scope
from .http1.parser cimport BODY, DONE, FAULT, HEAD, Parser
from .http2.fields cimport MALFORMED, FieldSink, RequestFields, TrailerFields, classify, make_request_fields
from .http2.hpack cimport Decoder, Encoder, Sent
from .http2.huffman cimport decoded_room, huffman_decode, huffman_encode, huffman_size
from .http2.response_head cimport check_head, check_trailers, put_interim, put_response, put_trailers
from .loop cimport clock as clocks
from .loop.clock cimport DATE_SIZE, Clock, Usage, measure
from .memory.buffer cimport Buffer, give, take
from .python cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
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


def simulate(double when, double cpu, long waits):
    """Simulate every reading of the clock but the date, until the next call or measure_again()."""
    clocks.simulated = True
    clocks.shown.when, clocks.shown.cpu, clocks.shown.waits = when, cpu, waits


def measure_again():
    """End what simulate() began."""
    clocks.simulated = False


def reading():
    """Return this thread's (seconds, seconds of processor time, waits), None if they are unknown."""
    cdef Usage usage
    return (usage.when, usage.cpu, usage.waits) if measure(&usage) else None


def date_of(Clock clock not None):
    """Return the value of the Date header now."""
    return (<const char*>clock.date())[:DATE_SIZE]


def advance(Clock clock not None, double seconds):
    """Let this many seconds pass for a clock at once."""
    clock.skew += seconds
    clock.tick_now()


def encode_head(Settings settings, Clock clock, status, headers, content_length=None, chunked=False, encrypted=False):
    """Return the bytes of a response head."""
    cdef HeadFacts facts
    cdef Buffer out = Buffer()
    start_head(out, &facts, status, headers)
    if content_length is None:
        content_length = facts.content_length
    end_head(out, &facts, settings, clock, content_length, chunked, CLOSE if facts.close else NO_CONNECTION, encrypted)
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


def huffman_coded(bytes data):
    """Return `data` in HPACK's Huffman code."""
    coded = bytearray(huffman_size(data, len(data)))
    if coded:
        huffman_encode(data, len(data), coded)
    return bytes(coded)


def huffman_decoded(bytes data):
    """Return what `data` says in HPACK's Huffman code, None if that is malformed."""
    decoded = bytearray(decoded_room(len(data)))
    cdef Py_ssize_t size = huffman_decode(data, len(data), decoded)
    return bytes(decoded[:size]) if size >= 0 else None


def field_is_malformed(bytes name, bytes value):
    """Return whether no HTTP/2 request can have this field."""
    return classify(name, value) >= MALFORMED


cdef class FieldList(FieldSink):
    cdef list fields

    cdef int add(self, tuple field, int kind, Py_ssize_t size) except -1:
        assert size == len(field[0]) + len(field[1]) + 32
        assert kind == classify(field[0], field[1])
        self.fields.append(field)
        return 0


cdef class HpackDecoder(Decoder):
    def fields(self, bytes block):
        """Return the fields of a block as a list of (name, value); ValueError with the reason if there is an error."""
        cdef FieldList sink = FieldList.__new__(FieldList)
        sink.fields = []
        if self.decode(block, len(block), sink):
            raise ValueError(self.reason.decode())
        return sink.fields

    def request(self, bytes block, Py_ssize_t max_size=0, int max_fields=0, HpackRequest into=None):
        """Return a block's HpackRequest, perhaps one that has served before."""
        cdef HpackRequest request = into or HpackRequest()
        request.fields.begin(max_size, max_fields)
        if self.decode(block, len(block), request.fields):
            raise ValueError(self.reason.decode())
        request.fields.finish()
        return request

    def trailers(self, bytes block, Py_ssize_t max_size=0, int max_fields=0):
        """Return why a block is not a trailer section, or the status for one beyond a limit, or None."""
        cdef TrailerFields sink = TrailerFields.__new__(TrailerFields)
        sink.begin(max_size, max_fields)
        if self.decode(block, len(block), sink):
            raise ValueError(self.reason.decode())
        if sink.malformed != NULL:
            return sink.malformed.decode()
        return sink.over_limit or None

    def repeat(self, bytes block, Py_ssize_t times, HpackRequest into):
        """Decode a request that many times, as a connection does."""
        cdef RequestFields fields = into.fields
        cdef const unsigned char* data = block
        for _ in range(times):
            fields.begin(65_536, 128)
            self.decode(data, len(block), fields)
            fields.finish()

    def table(self):
        """Return the dynamic table, the newest entry first."""
        return [<tuple>self.entry(62 + index).field for index in range(self.count)]

    def state(self):
        """Return the size, the maximum size and the places of the dynamic table."""
        return (self.size, self.max_size, self.capacity)


cdef class HpackRequest:
    cdef RequestFields fields

    def __cinit__(self):
        self.fields = make_request_fields()
        self.fields.takes_protocol = True

    def __getattr__(self, str name):
        if name == "malformed":
            return self.fields.malformed.decode() if self.fields.malformed != NULL else None
        return {
            "headers": self.fields.headers,
            "method": self.fields.method,
            "scheme": self.fields.scheme,
            "authority": self.fields.authority,
            "path": self.fields.path,
            "protocol": self.fields.protocol,
            "priority": self.fields.priority,
            "content_length": self.fields.content_length,
            "te_trailers": bool(self.fields.te_trailers),
            "expect_continue": bool(self.fields.expect_continue),
            "over_limit": self.fields.over_limit,
        }[name]


cdef class HpackEncoder(Encoder):
    def block(self, fields):
        """Return a block with these fields."""
        cdef Buffer out = take()
        self.begin(out)
        for name, value in fields:
            self.field(out, name, value)
        return taken(out)

    def repeat(self, list fields, Py_ssize_t times):
        """Encode a block that many times."""
        cdef Buffer out = take()
        cdef bytes name, value
        for _ in range(times):
            out.size = 0
            self.begin(out)
            for name, value in fields:
                self.field(out, name, value)
        out.size = 0
        give(out)

    def with_status(self, int status, length=None):
        """Return a block with a status and perhaps a Content-Length."""
        cdef Buffer out = take()
        self.begin(out)
        self.status(out, status)
        if length is not None:
            self.content_length(out, length)
        return taken(out)

    def response(self, Settings settings, Clock clock, status, headers, length=None, encrypted=False):
        """Return the block of a response."""
        cdef HeadFacts facts
        cdef Buffer out
        cdef list fields = []
        check_head(&facts, status, headers, fields)
        out = take()
        if length is None:
            length = facts.content_length
        put_response(out, self, &facts, fields, settings, clock, length, encrypted)
        return taken(out)

    def interim(self, status, headers):
        """Return the block of a 1xx response."""
        cdef HeadFacts facts
        cdef Buffer out
        cdef list fields = []
        check_head(&facts, status, headers, fields)
        out = take()
        put_interim(out, self, facts.status, fields)
        return taken(out)

    def trailers(self, list fields):
        """Return the block of a trailer section."""
        cdef list checked = check_trailers(fields)
        cdef Buffer out = take()
        put_trailers(out, self, checked)
        return taken(out)

    def resize(self, Py_ssize_t size):
        """The peer's SETTINGS_HEADER_TABLE_SIZE has come."""
        self.limit(size)

    def table(self):
        """Return the dynamic table, the newest entry first."""
        cdef Sent* entry
        cdef uint32_t age
        found = []
        for age in range(self.count):
            entry = &self.entries[(self.inserted - age) & (self.capacity - 1)]
            found.append((<bytes>entry.name, <bytes>entry.value))
        return found

    def state(self):
        """Return the size, the maximum size and the places of the dynamic table."""
        return (self.size, self.max_size, self.capacity)


def checked_head(status, headers, list before=None):
    """Return what check_head() gives: the fields, and the facts as a dict."""
    cdef HeadFacts facts
    cdef list fields = [] if before is None else before
    check_head(&facts, status, headers, fields)
    return fields, {
        "status": facts.status,
        "content_length": facts.content_length,
        "close": bool(facts.close),
        "date": bool(facts.date),
        "server": bool(facts.server),
    }
