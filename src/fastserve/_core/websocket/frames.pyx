# setup.py: hot
"""WebSocket frames (RFC 6455 section 5): parses bytes into messages, and writes frames into a buffer.

next() is called with the remaining input and tells what it found first. A message that is whole in one input is
unmasked straight into the object that the application gets. One that comes in pieces is unmasked into a bytes object
that grows with it and is never larger than twice what has arrived. A text is checked as it arrives.

The result depends on the bytes alone, not on how they were cut into inputs.
"""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from ..memory.buffer cimport Buffer
from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE, PyObject, Py_CLEAR, Py_INCREF
from .deflate cimport TAIL_SIZE, Deflater, Inflater, put_tail
from .utf8 cimport check_utf8

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject** held, Py_ssize_t size) except -1
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    const Py_ssize_t PY_SSIZE_T_MAX
    void* PyUnicode_DATA(object text)
    str PyUnicode_DecodeUTF8(const char* data, Py_ssize_t size, const char* errors)

cdef enum:
    FIN = 0x80
    RSV1 = 0x40
    RSV2_RSV3 = 0x30
    OPCODE = 0x0F
    CONTROL = 0x08  # set in the opcodes of control frames
    MASKED = 0x80
    LARGE = 65536  # bytes of a message so far, and of its frame still to come, that justify a separate read

cdef uint64_t HIGH_BITS = 0x8080808080808080


cdef bint unmask(char* target, const char* source, Py_ssize_t size, unsigned char* mask) noexcept:
    """Unmask `size` bytes and rotate the mask for those that follow. Return whether any is not ASCII."""
    cdef Py_ssize_t words = size >> 3, index
    cdef uint64_t key, word, seen = 0
    cdef unsigned char byte
    cdef unsigned char turned[8]
    memcpy(&key, mask, 8)
    # Whole words in a loop without branches, which compilers turn into vector instructions.
    for index in range(words):
        memcpy(&word, source + 8 * index, 8)
        word ^= key
        seen |= word
        memcpy(target + 8 * index, &word, 8)
    for index in range(8 * words, size):
        byte = <unsigned char>source[index] ^ mask[index & 7]
        seen |= byte
        target[index] = <char>byte
    if size & 3:
        for index in range(8):
            turned[index] = mask[(index + size) & 3]
        memcpy(mask, turned, 8)
    return seen & HIGH_BITS != 0


cdef bint valid_code(int code) noexcept:
    """Check by RFC 6455 section 7.4 and IANA's registry; 1004, 1005, 1006 and 1015 are reserved."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


cdef class FrameReader:
    """The messages and control frames of one client.

    `max_size` bounds a message and `max_fragments` its frames; 0 for no limit. `inflater` is None unless
    permessage-deflate was agreed on.
    """

    def __cinit__(self, Py_ssize_t max_size, Py_ssize_t max_fragments, Inflater inflater=None):
        if max_size < 0 or max_fragments < 0:
            raise ValueError("a limit is negative")
        self.max_size = max_size or PY_SSIZE_T_MAX - 1
        # Incompressible data gets a little larger; beyond that, a payload may consist of empty blocks without end.
        self.max_received = min(self.max_size, PY_SSIZE_T_MAX // 2)
        self.max_received += self.max_received // 64 + 1024
        self.max_fragments = max_fragments or PY_SSIZE_T_MAX
        self.inflater = inflater

    def __dealloc__(self):
        Py_CLEAR(self.held)

    cdef int next(self, const char** position, const char* end) except -1:
        """Parse from `position` on, move it past what was used, and return what was found.

        Call it again until it returns WS_NEED_MORE, which it always does after WS_CLOSE and WS_FAULT.
        """
        cdef int found
        self.message = None
        while not self.ended:
            if not self.in_frame:
                found = self.read_header(position, end)
                if not self.in_frame:
                    return found
            if self.opcode & CONTROL:
                found = self.read_control(position, end)
            else:
                found = self.read_data(position, end)
            if found or self.in_frame:
                return found
        position[0] = end
        return WS_NEED_MORE

    cdef char* room_for_more(self, Py_ssize_t* size) except? NULL:
        cdef Py_ssize_t free
        if self.held_size < LARGE or self.left < LARGE or not self.in_frame or self.compressed or self.opcode & CONTROL:
            return NULL
        free = PyBytes_GET_SIZE(<object>self.held) - self.held_size
        if free == 0:
            free = min(self.held_size, self.left)
            _PyBytes_Resize(&self.held, self.held_size + free)
        size[0] = min(free, self.left)
        return PyBytes_AS_STRING(<object>self.held) + self.held_size

    cdef int filled(self, Py_ssize_t size) except -1:
        self.received += size
        self.left -= size
        self.in_frame = self.left != 0
        if self.take_piece(PyBytes_AS_STRING(<object>self.held) + self.held_size, size) == WS_FAULT:
            return WS_FAULT
        return self.finish() if self.final and not self.in_frame else WS_NEED_MORE

    cdef int read_header(self, const char** position, const char* end) except -1:
        cdef Py_ssize_t available = end - position[0], kept = self.head_size, more
        if kept == 0:
            more = self.parse_header(<const unsigned char*>position[0], available)
        else:
            more = min(available, MAX_HEADER - kept)
            memcpy(self.head + kept, position[0], more)
            more = self.parse_header(self.head, kept + more)
        if self.in_frame:
            self.head_size = 0
            position[0] += more - kept
            return WS_NEED_MORE
        if self.ended:
            return WS_FAULT
        if kept == 0:
            memcpy(self.head, position[0], available)
        self.head_size = kept + available
        position[0] = end
        return WS_NEED_MORE

    cdef int parse_header(self, const unsigned char* at, Py_ssize_t size) except -1:
        """Return the size of the header at `at` if it is complete, and set in_frame.

        Each check is made as soon as its bytes have arrived, in their order.
        """
        cdef uint64_t length
        cdef Py_ssize_t header = 2, index
        if size == 0:
            return 0
        if at[0] & RSV2_RSV3:
            return self.fault(PROTOCOL_ERROR, "reserved bit is set")
        if at[0] & OPCODE > OP_BINARY and not OP_CLOSE <= at[0] & OPCODE <= OP_PONG:
            return self.fault(PROTOCOL_ERROR, "opcode is reserved")
        if at[0] & RSV1 and (self.inflater is None or not OP_TEXT <= at[0] & OPCODE <= OP_BINARY):
            return self.fault(PROTOCOL_ERROR, "frame cannot be compressed")
        if at[0] & CONTROL:
            if not at[0] & FIN:
                return self.fault(PROTOCOL_ERROR, "control frame is fragmented")
        elif at[0] & OPCODE == OP_CONTINUATION:
            if self.kind == WS_NEED_MORE:
                return self.fault(PROTOCOL_ERROR, "no message to continue")
            if self.fragments >= self.max_fragments:
                return self.fault(TOO_BIG, "message has too many fragments")
        elif self.kind != WS_NEED_MORE:
            return self.fault(PROTOCOL_ERROR, "message was not complete")
        if size == 1:
            return 0
        if not at[1] & MASKED:
            return self.fault(PROTOCOL_ERROR, "frame is not masked")
        length = at[1] & 0x7F
        if length > MAX_CONTROL:
            if at[0] & CONTROL:
                return self.fault(PROTOCOL_ERROR, "control frame is too long")
            header += 2 if length == 126 else 8
            if size < header:
                return 0
            length = 0
            for index in range(2, header):
                length = length << 8 | at[index]
            if length < (126 if header == 4 else 65536):
                return self.fault(PROTOCOL_ERROR, "length is not in its shortest form")
            if length >> 63:
                return self.fault(PROTOCOL_ERROR, "length has its highest bit set")
        if not at[0] & CONTROL and length > <uint64_t>self.allowance(at[0]):
            return self.fault(TOO_BIG, "message is too big")
        if size < header + 4:
            return 0
        memcpy(self.mask, at + header, 4)
        memcpy(self.mask + 4, at + header, 4)
        self.begin_frame(at[0], length)
        return header + 4

    cdef Py_ssize_t allowance(self, int first) noexcept:
        """Return how many bytes of payload a frame with this first byte may have."""
        if first & OPCODE == OP_CONTINUATION:
            return (self.max_received if self.compressed else self.max_size) - self.received
        return self.max_received if first & RSV1 else self.max_size

    cdef int begin_frame(self, int first, Py_ssize_t size) noexcept:
        self.in_frame = True
        self.opcode = first & OPCODE
        self.final = first & FIN != 0
        self.left = size
        if self.opcode & CONTROL:
            return 0
        if self.opcode == OP_CONTINUATION:
            self.fragments += 1
            return 0
        self.kind = WS_TEXT if self.opcode == OP_TEXT else WS_BINARY
        self.compressed = first & RSV1 != 0
        self.fragments = 1
        self.received = 0
        self.utf8.left = 0
        return 0

    cdef int read_data(self, const char** position, const char* end) except -1:
        cdef const char* source = position[0]
        cdef Py_ssize_t size = min(self.left, end - source)
        cdef bint last
        position[0] += size
        self.received += size
        self.left -= size
        self.in_frame = self.left != 0
        last = self.final and not self.in_frame
        if self.compressed:
            return self.take_compressed(source, size, last)
        if last and self.held == NULL:
            return self.take_whole(source, size)
        if self.take_piece(source, size) == WS_FAULT:
            return WS_FAULT
        return self.finish() if last else WS_NEED_MORE

    cdef int take_whole(self, const char* source, Py_ssize_t size) except -1:
        """Take all the bytes of a message. If they are ASCII, the unmasked bytes become the str as they are."""
        cdef object message
        cdef char* target
        if self.kind == WS_BINARY:
            message = PyBytes_FromStringAndSize(NULL, size)
            unmask(PyBytes_AS_STRING(message), source, size, self.mask)
            return self.deliver(message)
        message = PyUnicode_New(size, 127)
        target = <char*>PyUnicode_DATA(message)
        if unmask(target, source, size, self.mask):
            return self.deliver_text(target, size)
        self.delivered = size
        return self.deliver(message)

    cdef int take_piece(self, const char* source, Py_ssize_t size) except -1:
        cdef char* target
        cdef bint more_than_ascii
        if size == 0:
            return WS_NEED_MORE
        target = self.room(size)
        more_than_ascii = unmask(target, source, size, self.mask)
        self.held_size += size
        if self.kind == WS_TEXT and (more_than_ascii or self.utf8.left):
            return self.check_text(target, size)
        return WS_NEED_MORE

    cdef int take_compressed(self, const char* source, Py_ssize_t size, bint last) except -1:
        cdef bytes data
        cdef Py_ssize_t limit = self.max_size - self.held_size, inflated_size
        if size == 0 and not last:
            return WS_NEED_MORE
        data = PyBytes_FromStringAndSize(NULL, size + (TAIL_SIZE if last else 0))
        unmask(PyBytes_AS_STRING(data), source, size, self.mask)
        if last:
            put_tail(PyBytes_AS_STRING(data) + size)
        if self.received == 0:
            data = b""  # RFC 7692 encodes an empty message differently, but this cannot mean anything else
        else:
            try:
                data = self.inflater.inflate(data, limit, last)
            except ValueError as error:
                return self.fault(INVALID_DATA, str(error))
        inflated_size = len(data)
        if last:
            self.inflater.end_message()
            if self.held == NULL and inflated_size <= limit:
                if self.kind == WS_TEXT:
                    return self.deliver_text(PyBytes_AS_STRING(data), inflated_size)
                return self.deliver(data)
        if self.kind == WS_TEXT and self.check_text(PyBytes_AS_STRING(data), inflated_size) == WS_FAULT:
            return WS_FAULT
        if inflated_size > limit:
            return self.fault(TOO_BIG, "message is too big")
        if inflated_size:
            memcpy(self.room(inflated_size), PyBytes_AS_STRING(data), inflated_size)
            self.held_size += inflated_size
        return self.finish() if last else WS_NEED_MORE

    cdef int check_text(self, const char* data, Py_ssize_t size) except -1:
        if check_utf8(&self.utf8, <const unsigned char*>data, size):
            return WS_NEED_MORE
        return self.fault(INVALID_DATA, "text is not UTF-8")

    cdef char* room(self, Py_ssize_t more) except NULL:
        """Return where the next bytes of the message go. `held` doubles, but not beyond what can still arrive."""
        cdef Py_ssize_t size = self.held_size + more, capacity
        cdef bytes fresh
        if self.held != NULL and size <= PyBytes_GET_SIZE(<object>self.held):
            return PyBytes_AS_STRING(<object>self.held) + self.held_size
        capacity = size + min(size, self.max_size - size)
        if self.final and not self.compressed:
            capacity = min(capacity, size + self.left)
        if self.held == NULL:
            fresh = PyBytes_FromStringAndSize(NULL, capacity)
            Py_INCREF(fresh)
            self.held = <PyObject*>fresh
        else:
            _PyBytes_Resize(&self.held, capacity)
        return PyBytes_AS_STRING(<object>self.held) + self.held_size

    cdef int finish(self) except -1:
        """Deliver the complete message in `held`."""
        if self.kind == WS_TEXT:
            return self.deliver_text(PyBytes_AS_STRING(<object>self.held), self.held_size)
        if PyBytes_GET_SIZE(<object>self.held) > self.held_size:
            _PyBytes_Resize(&self.held, self.held_size)
        return self.deliver(<object>self.held)

    cdef int deliver_text(self, const char* data, Py_ssize_t size) except -1:
        cdef str text
        try:
            text = PyUnicode_DecodeUTF8(data, size, NULL)
        except UnicodeDecodeError:
            return self.fault(INVALID_DATA, "text is not UTF-8")
        self.delivered = size
        return self.deliver(text)

    cdef int deliver(self, object message) except -1:
        cdef int found = self.kind
        if found == WS_BINARY:
            self.delivered = PyBytes_GET_SIZE(message)
        self.message = message
        self.drop()
        return found

    cdef void drop(self) noexcept:
        """Drop an incomplete message."""
        self.kind = WS_NEED_MORE
        self.held_size = 0
        Py_CLEAR(self.held)

    cdef int read_control(self, const char** position, const char* end) except -1:
        cdef Py_ssize_t size = min(self.left, end - position[0])
        cdef bytes payload = PyBytes_FromStringAndSize(NULL, size)
        unmask(PyBytes_AS_STRING(payload), position[0], size, self.mask)
        position[0] += size
        self.left -= size
        if self.control is not None:
            payload = self.control + payload
        self.in_frame = self.left != 0
        if self.in_frame:
            self.control = payload
            return WS_NEED_MORE
        self.control = None
        self.payload = payload
        if self.opcode == OP_CLOSE:
            return self.take_close()
        return WS_PING if self.opcode == OP_PING else WS_PONG

    cdef int take_close(self) except -1:
        cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(self.payload)
        cdef Py_ssize_t size = len(self.payload)
        cdef int code = NO_STATUS
        cdef str reason = ""
        if size == 1:
            return self.fault(PROTOCOL_ERROR, "close code is cut short")
        if size:
            code = data[0] << 8 | data[1]
            if not valid_code(code):
                return self.fault(PROTOCOL_ERROR, "close code is not valid")
            try:
                reason = PyUnicode_DecodeUTF8(<const char*>data + 2, size - 2, NULL)
            except UnicodeDecodeError:
                return self.fault(INVALID_DATA, "close reason is not UTF-8")
        self.end(code, reason)
        return WS_CLOSE

    cdef int fault(self, int code, str reason) except -1:
        self.end(code, reason)
        return WS_FAULT

    cdef void end(self, int code, str reason) noexcept:
        """Parse nothing from here on, and free the memory for it."""
        self.ended = True
        self.in_frame = False
        self.code = code
        self.reason = reason
        self.inflater = None
        self.drop()


cdef int put_header(Buffer out, int opcode, bint compressed, Py_ssize_t size) except -1:
    cdef unsigned char* at = <unsigned char*>out.reserve(MAX_HEADER)
    cdef int header = 2, index
    at[0] = FIN | (RSV1 if compressed else 0) | opcode
    if size < 126:
        at[1] = size
    else:
        header = 4 if size < 65536 else 10
        at[1] = 126 if header == 4 else 127
        for index in range(header - 1, 1, -1):
            at[index] = size & 0xFF
            size >>= 8
    out.size += header
    return 0


cdef int put_frame(Buffer out, int opcode, bint compressed, const char* data, Py_ssize_t size) except -1:
    out.reserve(MAX_HEADER + size)
    put_header(out, opcode, compressed, size)
    return out.append(data, size)


cdef int put_message(Buffer out, int opcode, const char* data, Py_ssize_t size, Deflater deflater) except -1:
    cdef bytes payload
    if deflater is None or not deflater.worthwhile(size):
        return put_frame(out, opcode, False, data, size)
    payload = deflater.deflate(data, size)
    return put_frame(out, opcode, True, PyBytes_AS_STRING(payload), len(payload))


cdef int put_close(Buffer out, int code, bytes reason) except -1:
    cdef char payload[MAX_CONTROL]
    cdef Py_ssize_t size = len(reason)
    if code == NO_STATUS and size == 0:
        return put_frame(out, OP_CLOSE, False, b"", 0)
    if not valid_code(code):
        raise ValueError(f"invalid close code: {code}")
    if size > MAX_REASON:
        raise ValueError(f"the close reason must have at most {MAX_REASON} bytes, not {size}")
    payload[0] = <char>(code >> 8)
    payload[1] = <char>(code & 0xFF)
    memcpy(payload + 2, PyBytes_AS_STRING(reason), size)
    return put_frame(out, OP_CLOSE, False, payload, size + 2)
