"""permessage-deflate (RFC 7692): negotiation, and the two contexts of a connection.

The contexts are zlib objects of the standard library, so that a wheel builds wherever Python does. They are made with
the first compressed message of their direction, so that an idle connection has none. Memory of a connection (zlib
1.2.13, by tracemalloc): 0.1 KiB without contexts, 38 KiB more once it has sent a compressed message, 11 KiB more once
it has received one, or 39 KiB if its client cannot be limited to a window of 12 bits. Without context takeover it keeps
none.

zlib's inflate() accepts back-references beyond the negotiated window if the bytes are still in its buffer.
"""
import re
import zlib

cimport cython
from libc.string cimport memcpy

from ..errors import ProtocolError
from ..grammar import TOKEN
from ..python cimport PyBUF_READ, PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyMemoryView_FromMemory

cdef enum:
    # The windows of both sides if the client allows to limit them: 4 KiB each way instead of 32.
    USUAL_BITS = 12
    # zlib has no raw deflate for 8 bits (its window of 256 bytes is broken), so an offer of 8 bits is declined.
    LEAST_SERVER_BITS = 9
    MOST_BITS = 15
    # Takes two thirds of the time of level 6, for 7 % more bytes (JSON of 256 bytes to 64 KiB).
    LEVEL = 3
    MEMORY_LEVEL = 5
    # Below this, deflating takes half as long as everything else for the message (3 of 9 us at 128 bytes), and saves
    # less than the headers of the packet that carries it, which is sent in any case.
    LEAST_SIZE = 256
    # Final blocks per message; each costs a new context.
    FINAL_BLOCKS = 64
    # Contexts kept for messages without context takeover, for each size of window.
    SPARE = 4

cdef bytes TAIL = b"\x00\x00\xff\xff"
cdef object compressobj = zlib.compressobj
cdef object decompressobj = zlib.decompressobj
cdef object ZLIB_ERROR = zlib.error
cdef object DEFLATED = zlib.DEFLATED
cdef object SYNC = zlib.Z_SYNC_FLUSH
cdef object FULL = zlib.Z_FULL_FLUSH

cdef dict spare = {bits: [] for bits in range(8, MOST_BITS + 1)}

cdef object NAME = re.compile(TOKEN.encode())
cdef object SPACE = re.compile(rb"[ \t]*")
cdef object COMMAS = re.compile(rb"[ \t,]*")
cdef object PARAMETER = re.compile(
    rf'[ \t]*;[ \t]*({TOKEN})(?:[ \t]*=[ \t]*(?:({TOKEN})|"((?:[^"\\]|\\.)*)"))?'.encode()
)
cdef object ESCAPED = re.compile(rb"\\(.)")
cdef dict BITS = {str(bits).encode(): bits for bits in range(8, MOST_BITS + 1)}
cdef frozenset FLAGS = frozenset((b"server_no_context_takeover", b"client_no_context_takeover"))


cdef tuple negotiate(list values):
    """Accept the first acceptable offer of permessage-deflate; see the declaration."""
    for name, offer in parse(b",".join(values)):
        if name == b"permessage-deflate":
            accepted = accept(offer)
            if accepted is not None:
                return accepted
    return None, None


cdef list parse(bytes text):
    """Return the extensions of a Sec-WebSocket-Extensions field: (name, [(parameter, value or None)])."""
    cdef list extensions = []
    cdef Py_ssize_t position = COMMAS.match(text).end(), size = len(text)
    while position < size:
        name = NAME.match(text, position)
        if name is None:
            raise ProtocolError(400, "Sec-WebSocket-Extensions is malformed")
        position = name.end()
        parameters = []
        parameter = PARAMETER.match(text, position)
        while parameter is not None:
            parameters.append((parameter[1], value_of(parameter)))
            position = parameter.end()
            parameter = PARAMETER.match(text, position)
        extensions.append((name[0], parameters))
        position = SPACE.match(text, position).end()
        if position < size and text[position] != c",":
            raise ProtocolError(400, "Sec-WebSocket-Extensions is malformed")
        position = COMMAS.match(text, position).end()
    return extensions


cdef object value_of(object parameter):
    if parameter[3] is None:
        return parameter[2]
    value = ESCAPED.sub(rb"\1", parameter[3])
    if NAME.fullmatch(value) is None:
        raise ProtocolError(400, "Sec-WebSocket-Extensions has a quoted value that is not a token")
    return value


cdef tuple accept(list offer):
    """Return the response to an offer and its Parameters, or None if the offer must be declined."""
    cdef Parameters parameters = Parameters.__new__(Parameters)
    cdef dict given = {}
    cdef bytes response = b"permessage-deflate"
    for name, value in offer:
        if name in given or not acceptable(name, value):
            return None
        given[name] = value
    parameters.server_takeover = b"server_no_context_takeover" not in given
    parameters.client_takeover = b"client_no_context_takeover" not in given
    parameters.server_bits = min(USUAL_BITS, BITS[given.get(b"server_max_window_bits", b"15")])
    parameters.client_bits = MOST_BITS
    if not parameters.server_takeover:
        response += b"; server_no_context_takeover"
    if not parameters.client_takeover:
        response += b"; client_no_context_takeover"
    # A smaller window than the client knows of is allowed; some clients fail on a parameter that they did not offer.
    if b"server_max_window_bits" in given:
        response += b"; server_max_window_bits=%d" % parameters.server_bits
    if b"client_max_window_bits" in given:
        parameters.client_bits = min(USUAL_BITS, BITS[given[b"client_max_window_bits"] or b"15"])
        response += b"; client_max_window_bits=%d" % parameters.client_bits
    return response, parameters


cdef bint acceptable(bytes name, object value) except -1:
    """Return whether a parameter of an offer is one of RFC 7692 section 7.1 with an acceptable value."""
    if name in FLAGS:
        return value is None
    if name == b"server_max_window_bits":
        return BITS.get(value, 0) >= LEAST_SERVER_BITS
    return name == b"client_max_window_bits" and (value is None or value in BITS)


cdef Inflater inflater_for(Parameters parameters):
    return Inflater(parameters.client_bits, parameters.client_takeover)


cdef Deflater deflater_for(Parameters parameters):
    return Deflater(parameters.server_bits, parameters.server_takeover)


cdef class Parameters:
    pass


cdef class Inflater:
    """Inflates messages whose sender has a window of `bits` bits. With `takeover` the window lasts between messages."""

    def __cinit__(self, int bits, bint takeover):
        self.bits = bits
        self.takeover = takeover

    cdef bytes inflate(self, bytes data, Py_ssize_t limit, bint last):
        cdef bytes inflated
        if self.stream is None:
            if last and data == TAIL:
                return b""  # after a final block, in place of an empty one
            self.stream = decompressobj(-self.bits)
        try:
            inflated = self.stream.decompress(data, limit + 1)
            if self.stream.eof:
                return self.begin_again(inflated, limit, last)
        except ZLIB_ERROR as error:
            raise ValueError("compressed data is not valid") from error
        return inflated

    cdef bytes begin_again(self, bytes first, Py_ssize_t limit, bint last):
        """Go on after a final block: it ends a stream, not the message (RFC 7692 section 7.2.3.4)."""
        cdef list parts = [first]
        cdef bytes rest
        while self.stream.eof and len(first) <= limit:
            limit -= len(first)
            rest = self.stream.unused_data
            self.stream = None
            self.final_blocks += 1
            if self.final_blocks > FINAL_BLOCKS:
                raise ValueError("message has too many final blocks")
            if not rest or last and rest == TAIL:
                break
            self.stream = decompressobj(-self.bits)
            first = self.stream.decompress(rest, limit + 1)
            parts.append(first)
        return b"".join(parts)

    cdef void end_message(self) noexcept:
        self.final_blocks = 0
        if not self.takeover:
            self.stream = None


cdef class Deflater:
    """Deflates messages with a window of `bits` bits. With `takeover` the window lasts between messages."""

    def __cinit__(self, int bits, bint takeover):
        self.bits = bits
        self.takeover = takeover

    cdef bint worthwhile(self, Py_ssize_t size) noexcept:
        return size >= LEAST_SIZE

    cdef bytes deflate(self, const char* data, Py_ssize_t size):
        cdef object stream = self.take()
        cdef bytes first = stream.compress(PyMemoryView_FromMemory(<char*>data, size, PyBUF_READ))
        cdef bytes rest = stream.flush(SYNC if self.takeover else FULL)
        cdef Py_ssize_t first_size = len(first), rest_size = len(rest) - TAIL_SIZE
        cdef bytes payload
        self.give(stream)
        payload = PyBytes_FromStringAndSize(NULL, first_size + rest_size)
        memcpy(PyBytes_AS_STRING(payload), PyBytes_AS_STRING(first), first_size)
        memcpy(PyBytes_AS_STRING(payload) + first_size, PyBytes_AS_STRING(rest), rest_size)
        return payload

    cdef object take(self):
        """Take the stream out, so that it is not used again if it fails: its state would not match what was sent."""
        cdef object stream = self.stream
        cdef list others
        self.stream = None
        if stream is None and not self.takeover:
            others = spare[self.bits]
            with cython.critical_section(others):
                if others:
                    return others.pop()
        return compressobj(LEVEL, DEFLATED, -self.bits, MEMORY_LEVEL) if stream is None else stream

    cdef int give(self, object stream) except -1:
        """Keep the stream: for this connection, or for any if the full flush left nothing to refer back to."""
        cdef list others
        if self.takeover:
            self.stream = stream
            return 0
        others = spare[self.bits]
        with cython.critical_section(others):
            if len(others) < SPARE:
                others.append(stream)
        return 0

    cdef void release(self) noexcept:
        self.stream = None
