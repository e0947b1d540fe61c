"""HTTP/2 frames (RFC 9113 sections 4 and 6): out of bytes, and into bytes.

state     PREFACE  the client's preface is coming
          HEAD     the head of a frame is coming
          PADDING  the number of padding bytes of a DATA frame is coming
          PIECES   the payload of a DATA frame is coming: each piece of it is found as soon as it is there
          WHOLE    that of a frame that is kept until all of it is there
          SKIPPED  that of a frame of unknown type
          FAILED   nothing is parsed any more

Only header blocks and control frames are ever kept. What one frame alone can have wrong is found here; what depends on
streams is for the connection. All of these faults end the connection, those of a frame's size on a stream as well: RFC
9113 section 5.4.1 leaves that open.
"""
from libc.string cimport memcmp, memcpy, strlen

from ..memory.buffer cimport Buffer, give, take

cdef enum:
    IN_PREFACE
    IN_HEAD
    IN_PADDING
    IN_PIECES
    IN_WHOLE
    IN_SKIPPED
    FAILED

cdef enum:
    LARGEST_BLOCK = 65536  # bytes of a header block, compressed
    MOST_CONTINUATIONS = 8
    FRAMES_AHEAD = 64  # that are looked at

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
cdef const char* preface = PREFACE


cdef uint32_t number_at(const unsigned char* data) noexcept:
    return <uint32_t>data[0] << 24 | <uint32_t>data[1] << 16 | <uint32_t>data[2] << 8 | data[3]


cdef class FrameParser:
    """Finds the frames in what a client sends, beginning with its preface."""

    def __dealloc__(self):
        self.drop()

    def read(self, bytes data not None):
        """Return what is found in these bytes: (type, flags, stream, payload, first, last) each, and ("fault", error)."""
        cdef const unsigned char* position = <const unsigned char*><const char*>data
        cdef const unsigned char* end = position + len(data)
        cdef int found
        frames = []
        while True:
            found = self.next(&position, end)
            if found == NEED_MORE:
                return frames
            if found == FAULT:
                return [*frames, ("fault", self.error)]
            payload = self.data[:self.size] if self.size else b""
            frames.append((self.type, self.flags, self.stream, payload, bool(self.first), bool(self.last)))

    cdef int next(self, const unsigned char** position, const unsigned char* end) except -1:
        """Find the next frame, or piece of one, in what came, and move `position` past it."""
        if self.kept is not None and self.state == IN_HEAD:
            give(self.kept)
            self.kept = None
        if self.block is not None and self.block_stream == 0:
            give(self.block)
            self.block = None
        while True:
            if self.state == IN_HEAD:
                if not self.read_head(position, end):
                    return NEED_MORE
                if self.begin_frame():
                    return FAULT
            elif self.state == IN_PIECES:
                return self.next_piece(position, end)
            elif self.state == IN_WHOLE:
                if not self.collect(position, end):
                    return NEED_MORE
                self.state = IN_HEAD
                found = self.take_frame()
                if found != NEED_MORE:
                    return found
                if self.kept is not None:
                    give(self.kept)
                    self.kept = None
            elif self.state == IN_SKIPPED:
                self.size = min(self.left, end - position[0])
                position[0] += self.size
                self.left -= self.size
                if self.left:
                    return NEED_MORE
                self.size = 0
                self.state = IN_HEAD
                return FRAME
            elif self.state == IN_PADDING:
                if position[0] == end:
                    return NEED_MORE
                self.padding = position[0][0]
                position[0] += 1
                self.left -= 1
                self.overhead = self.padding + 1
                if self.padding > self.left:
                    return self.fault(PROTOCOL_ERROR, b"more padding than payload")
                self.state = IN_PIECES
            elif self.state == IN_PREFACE:
                if not self.match_preface(position, end):
                    return FAULT if self.state == FAILED else NEED_MORE
            else:
                return FAULT

    cdef bint in_block(self) noexcept:
        return self.block_stream != 0 or self.state == IN_WHOLE and self.type == HEADERS

    cdef bint match_preface(self, const unsigned char** position, const unsigned char* end) noexcept:
        cdef Py_ssize_t count = min(PREFACE_SIZE - self.matched, end - position[0])
        if memcmp(preface + self.matched, position[0], count) != 0:
            self.fault(PROTOCOL_ERROR, b"invalid preface")
            return False
        position[0] += count
        self.matched += count
        if self.matched < PREFACE_SIZE:
            return False
        self.matched = 0
        self.state = IN_HEAD
        return True

    cdef bint read_head(self, const unsigned char** position, const unsigned char* end) noexcept:
        cdef const unsigned char* head = position[0]
        cdef Py_ssize_t count = min(FRAME_HEAD - self.matched, end - head)
        if count < FRAME_HEAD:
            memcpy(self.head + self.matched, head, count)
            head = self.head
        self.matched += count
        position[0] += count
        if self.matched < FRAME_HEAD:
            return False
        self.matched = 0
        self.length = self.left = <Py_ssize_t>head[0] << 16 | <Py_ssize_t>head[1] << 8 | head[2]
        self.type = head[3]
        self.flags = head[4]
        self.stream = number_at(head + 5) & 0x7FFFFFFF
        return True

    cdef int begin_frame(self) except -1:
        """A head is complete: check it, and say how its payload is read. Return nonzero for a fault."""
        self.first = self.last = self.fresh = True
        self.overhead = self.padding = self.size = 0
        self.depends_on_itself = False
        if self.length > LARGEST_FRAME:
            return self.fault(FRAME_SIZE_ERROR, b"frame over MAX_FRAME_SIZE")
        if self.block_stream and (self.type != CONTINUATION or self.stream != self.block_stream):
            return self.fault(PROTOCOL_ERROR, b"frame within a header block")
        if self.type == DATA:
            if self.stream == 0:
                return self.fault(PROTOCOL_ERROR, b"DATA on stream 0")
            self.last = False
            if not self.flags & PADDED:
                self.state = IN_PIECES
            elif self.length:
                self.state = IN_PADDING
            else:
                return self.fault(FRAME_SIZE_ERROR, b"padded frame without padding")
            return 0
        self.state = IN_WHOLE
        if self.type == CONTINUATION:
            if self.block_stream == 0:
                return self.fault(PROTOCOL_ERROR, b"CONTINUATION without a header block")
            self.continuations += 1
            if self.continuations > MOST_CONTINUATIONS or self.block.size + self.length > LARGEST_BLOCK:
                return self.fault(ENHANCE_YOUR_CALM, b"header block over the limit")
            return 0
        if self.type > CONTINUATION and self.type != PRIORITY_UPDATE:
            self.state = IN_SKIPPED
            return 0
        return self.check_size()

    cdef int check_size(self) noexcept:
        """Check the size and the stream of a frame other than DATA and CONTINUATION; nonzero for a fault."""
        cdef Py_ssize_t least = 0
        cdef bint of_connection = self.type in (SETTINGS, PING, GOAWAY, PRIORITY_UPDATE)
        if of_connection and self.stream != 0:
            return self.fault(PROTOCOL_ERROR, b"frame of the connection on a stream")
        if not of_connection and self.stream == 0 and self.type != WINDOW_UPDATE:
            return self.fault(PROTOCOL_ERROR, b"frame of a stream on stream 0")
        if self.type == HEADERS:
            least = (1 if self.flags & PADDED else 0) + (5 if self.flags & WITH_PRIORITY else 0)
        elif self.type == PRIORITY:
            least = 5
        elif self.type == RST_STREAM or self.type == WINDOW_UPDATE or self.type == PRIORITY_UPDATE:
            least = 4
        elif self.type == PING or self.type == GOAWAY:
            least = 8
        elif self.type == PUSH_PROMISE:
            return self.fault(PROTOCOL_ERROR, b"PUSH_PROMISE of a client")
        elif self.length % 6 or self.flags & ACK and self.length:
            return self.fault(FRAME_SIZE_ERROR, b"SETTINGS of a wrong size")
        if self.length < least:
            return self.fault(FRAME_SIZE_ERROR, b"frame too short")
        if self.length > least and self.type in (PRIORITY, RST_STREAM, WINDOW_UPDATE, PING):
            return self.fault(FRAME_SIZE_ERROR, b"frame too long")
        return 0

    cdef int next_piece(self, const unsigned char** position, const unsigned char* end) noexcept:
        cdef Py_ssize_t payload = min(self.left - self.padding, end - position[0]), padding
        self.first = self.fresh
        if not self.first:
            self.overhead = 0
        self.data = position[0]
        self.size = payload
        position[0] += payload
        self.left -= payload
        if self.left == self.padding:
            padding = min(self.padding, end - position[0])
            position[0] += padding
            self.left -= padding
            self.padding -= padding
        if self.left == 0:
            self.last = True
            self.state = IN_HEAD
        elif payload == 0 and not self.first:
            return NEED_MORE
        self.fresh = False
        return FRAME

    cdef Py_ssize_t following(self, const unsigned char* end) noexcept:
        """Return how much of the same body comes next in the same bytes, in plain DATA frames, others between them or not."""
        cdef const unsigned char* at = self.data + self.size
        cdef Py_ssize_t total = 0, length
        cdef int frames = FRAMES_AHEAD
        if self.left or self.flags & (PADDED | END_STREAM):
            return 0
        while frames and end - at >= FRAME_HEAD:
            frames -= 1
            length = <Py_ssize_t>at[0] << 16 | <Py_ssize_t>at[1] << 8 | at[2]
            if length > LARGEST_FRAME:
                break
            if number_at(at + 5) & 0x7FFFFFFF == self.stream:
                if at[3] != DATA or at[4] & PADDED:
                    break
                total += min(length, end - at - FRAME_HEAD)
                if at[4] & END_STREAM:
                    break
            if length >= end - at - FRAME_HEAD:
                break
            at += FRAME_HEAD + length
        return total

    cdef bint collect(self, const unsigned char** position, const unsigned char* end) except -1:
        """Have `data` be the payload of a frame that is wanted as a whole; false until all of it has come."""
        cdef Py_ssize_t count = min(self.left, end - position[0])
        if count < self.left or self.kept is not None:
            if self.kept is None:
                if count == 0:
                    return False
                self.kept = take()
            self.kept.append(<const char*>position[0], count)
        self.left -= count
        position[0] += count
        if self.left:
            return False
        if self.kept is not None:
            self.data = <const unsigned char*>self.kept.data
        else:
            self.data = position[0] - count
        self.size = self.length
        return True

    cdef int take_frame(self) except -1:
        """All of a frame is there: FRAME, FAULT, or NEED_MORE where it is a part of a block only."""
        cdef Py_ssize_t padding = 0
        if self.type == PRIORITY:
            self.depends_on_itself = number_at(self.data) & 0x7FFFFFFF == self.stream
        elif self.type == CONTINUATION:
            return self.take_fragment()
        if self.type != HEADERS:
            return FRAME
        if self.flags & PADDED:
            padding = self.data[0]
            self.data += 1
            self.size -= 1
        if self.flags & WITH_PRIORITY:
            self.depends_on_itself = number_at(self.data) & 0x7FFFFFFF == self.stream
            self.data += 5
            self.size -= 5
        if padding > self.size:
            return self.fault(PROTOCOL_ERROR, b"more padding than payload")
        self.size -= padding
        if self.flags & END_HEADERS:
            return FRAME
        self.block_stream = self.stream
        self.block_flags = self.flags
        self.block_length = 0
        self.continuations = 0
        self.block = take()
        return self.take_fragment()

    cdef int take_fragment(self) except -1:
        """Keep a part of a block; at its end the frame is its HEADERS."""
        self.block.append(<const char*>self.data, self.size)
        self.block_length += self.length
        if not self.flags & END_HEADERS:
            return NEED_MORE
        self.type = HEADERS
        self.flags = self.block_flags | END_HEADERS
        self.length = self.block_length
        self.block_stream = 0
        self.data = <const unsigned char*>self.block.data
        self.size = self.block.size
        return FRAME

    cdef void drop(self) noexcept:
        if self.kept is not None:
            give(self.kept)
            self.kept = None
        if self.block is not None:
            give(self.block)
            self.block = None

    cdef int fault(self, int error, const char* reason) noexcept:
        self.state = FAILED
        self.error = error
        self.reason = reason
        return FAULT


cdef void fill_head(char* to, Py_ssize_t length, int type, int flags, uint32_t stream) noexcept:
    to[0] = <char>(length >> 16)
    to[1] = <char>(length >> 8)
    to[2] = <char>length
    to[3] = <char>type
    to[4] = <char>flags
    fill_number(to + 5, stream)


cdef void fill_number(char* to, uint32_t number) noexcept:
    to[0] = <char>(number >> 24)
    to[1] = <char>(number >> 16)
    to[2] = <char>(number >> 8)
    to[3] = <char>number


cdef int put_head(Buffer out, Py_ssize_t length, int type, int flags, uint32_t stream) except -1:
    """Append the head of a frame, whose payload the caller appends."""
    fill_head(out.reserve(FRAME_HEAD), length, type, flags, stream)
    out.size += FRAME_HEAD
    return 0


cdef int put_number(Buffer out, int type, uint32_t stream, uint32_t number) except -1:
    """Append a frame whose payload is a number: RST_STREAM, WINDOW_UPDATE."""
    cdef char* to = out.reserve(FRAME_HEAD + 4)
    fill_head(to, 4, type, 0, stream)
    fill_number(to + FRAME_HEAD, number)
    out.size += FRAME_HEAD + 4
    return 0


cdef int put_setting(Buffer out, int name, uint32_t value) except -1:
    """Append one setting of a SETTINGS frame whose head is there."""
    cdef char* to = out.reserve(6)
    to[0] = 0
    to[1] = <char>name
    fill_number(to + 2, value)
    out.size += 6
    return 0


cdef int put_ping(Buffer out, int flags, const unsigned char* data) except -1:
    put_head(out, 8, PING, flags, 0)
    return out.append(<const char*>data, 8)


cdef int put_goaway(Buffer out, uint32_t last, int error, const char* reason) except -1:
    """Append a GOAWAY frame, with a text for who debugs the client."""
    cdef Py_ssize_t size = strlen(reason)
    cdef char* to
    put_head(out, 8 + size, GOAWAY, 0, 0)
    to = out.reserve(8)
    fill_number(to, last)
    fill_number(to + 4, error)
    out.size += 8
    return out.append(reason, size)
