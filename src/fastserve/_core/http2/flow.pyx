"""What an HTTP/2 connection sends of bodies, and when (RFC 9113 section 5.2); whose turn it is (RFC 9218).

A body that fits the windows leaves at once, while the client reads. What does not stays with its stream as the
application's own bytes, and is cut into frames when a window opens or the client has read on. Streams that wait for
nothing but the connection are in `ready`, by urgency: those that are not incremental first, by id, then the others, which
take turns. Streams whose client has never said anything of priorities count as incremental: behind a proxy they belong to
different people.

A client that gives back what it was sent frame by frame would have bodies cut into smaller and smaller frames, as the
silly windows of TCP do (RFC 9293 section 3.8.6.2.1). So a piece of less than SMALL bytes is not cut off where the client
owes more than that, until the window has grown or a quarter of a second has passed.
"""
from collections import deque

from libc.string cimport memcpy

from ..http.response cimport Response
from ..memory.buffer cimport Buffer
from ..python cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from ..system cimport FASTSERVE_MOST_SLICES
from ..transport.writer cimport Writer
from .frames cimport (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HEADERS,
    LARGEST_FRAME,
    fill_head,
    put_head,
)
from .guard cimport begin_guard, note_sent, spend_cheap
from .hpack cimport Encoder
from .response_head cimport put_trailers

cdef enum:
    COPIED = 32768  # bytes of a body that are copied next to others; more are sent from where they are
    SMALL = 256  # bytes of DATA, which a client that keeps its windows nearly closed has us send
    COUNTED = 1 << 19  # bytes of one stream's that count as backlog


cdef Flow make_flow(Writer writer, Encoder encoder):
    """Return what a connection begins with."""
    cdef Flow self = Flow.__new__(Flow)
    cdef int urgency
    self.writer = writer
    self.encoder = encoder
    self.clock = writer.clock
    begin_guard(&self.guard, self.clock.now())
    self.window = self.first_window = FIRST_WINDOW
    self.largest = LARGEST_FRAME
    for urgency in range(URGENCIES):
        self.ready[urgency].next = self.ready[urgency].previous = &self.ready[urgency]
    return self


cdef inline void spend(Flow self, SendingStream stream, Py_ssize_t size) noexcept:
    """Note that so much of a body is sent."""
    stream.window -= size
    stream.owed += size
    self.window -= size
    self.owed += size


cdef void unlink(SendingStream stream) noexcept:
    cdef Link* link = &stream.link
    if link.next != NULL:
        link.previous.next = link.next
        link.next.previous = link.previous
        link.next = NULL


cdef class SendingStream(Response):
    def __dealloc__(self):
        unlink(self)

    cdef int moved(self) except -1:
        return 0

    cdef int wait_for_window(self) except -1:
        return 0


cdef class Flow:
    def __dealloc__(self):
        cdef int urgency
        cdef Link* link
        for urgency in range(URGENCIES):
            while self.ready[urgency].next != NULL and self.ready[urgency].next != &self.ready[urgency]:
                link = self.ready[urgency].next
                self.ready[urgency].next = link.next
                link.next = NULL

    cdef int send(self, SendingStream stream, bytes data, bint last) except -1:
        """Send a piece of body, as soon as it may; `last`: END_STREAM goes with it."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if size == 0:
            return self.send_copy(stream, NULL, 0, last)
        if size < COPIED and self.fits(stream, size):
            return self.put_frames(stream, PyBytes_AS_STRING(data), size, last)
        stream.ends = last
        self.wait(stream, data)
        return self.pump()

    cdef int send_copy(self, SendingStream stream, const char* data, Py_ssize_t size, bint last) except -1:
        """Send bytes that are not kept by anybody."""
        if size == 0:
            if last and stream.unsent == 0:
                return self.put_data(stream, NULL, 0, True)
            stream.ends |= last
            return 0
        if self.fits(stream, size):
            return self.put_frames(stream, data, size, last)
        stream.ends = last
        self.wait(stream, data[:size])
        return self.pump()

    cdef inline bint fits(self, SendingStream stream, Py_ssize_t size) noexcept:
        """Whether so much may leave at once."""
        return stream.unsent == 0 and not self.writer.paused and size <= min(stream.window, self.window)

    cdef inline int put_frames(self, SendingStream stream, const char* data, Py_ssize_t size, bint last) except -1:
        cdef Py_ssize_t at = 0, part
        while at < size:
            part = min(size - at, self.largest)
            at += part
            self.put_data(stream, data + at - part, part, last and at == size)
        return 0

    cdef int end(self, SendingStream stream, list trailers) except -1:
        """END_STREAM follows what waits, with these trailers if they are not None."""
        stream.ends = True
        stream.last_fields = trailers
        return self.put_end(stream) if stream.unsent == 0 else 0

    cdef int close_fields(self, Py_ssize_t mark, uint32_t stream, int flags) except -1:
        """Make a HEADERS frame of what follows a head at `mark` of the buffer, and CONTINUATION frames of the rest."""
        cdef Buffer out = self.writer.buffer
        cdef Py_ssize_t size = out.size - mark - FRAME_HEAD
        cdef Py_ssize_t at, part
        cdef bytes block
        if size <= self.largest:
            fill_head(out.data + mark, size, HEADERS, flags | END_HEADERS, stream)
            return self.writer.commit()
        at = mark + FRAME_HEAD
        block = out.data[at:out.size]
        out.size = at + self.largest
        fill_head(out.data + mark, self.largest, HEADERS, flags, stream)
        at = self.largest
        while at < size:
            part = min(size - at, self.largest)
            put_head(out, part, CONTINUATION, END_HEADERS if at + part == size else 0, stream)
            out.append(PyBytes_AS_STRING(block) + at, part)
            at += part
        return self.writer.commit()

    cdef int put_end(self, SendingStream stream) except -1:
        cdef Py_ssize_t mark
        cdef Buffer out
        trailers, stream.last_fields = stream.last_fields, None
        if not trailers:
            return self.put_data(stream, NULL, 0, True)
        out = self.writer.output()
        mark = out.size
        put_head(out, 0, HEADERS, 0, stream.id)
        put_trailers(out, self.encoder, <list>trailers)
        stream.ends_sent = True
        return self.close_fields(mark, stream.id, END_STREAM)

    cdef int put_data(self, SendingStream stream, const char* data, Py_ssize_t size, bint last) except -1:
        """Put one frame into the buffer."""
        cdef Buffer out = self.writer.output()
        cdef char* to = out.reserve(FRAME_HEAD + size)
        fill_head(to, size, DATA, END_STREAM if last else 0, stream.id)
        if size:
            memcpy(to + FRAME_HEAD, data, size)
        out.size += FRAME_HEAD + size
        spend(self, stream, size)
        if last:
            stream.ends_sent = True
        note_sent(&self.guard, size)
        return self.writer.commit()

    cdef int wait(self, SendingStream stream, bytes data) except -1:
        """Keep a piece that cannot leave yet."""
        if stream.piece is None:
            stream.piece = data
            stream.at = 0
        else:
            if stream.pieces is None:
                stream.pieces = deque()
            stream.pieces.append(data)
        self.count_backlog(stream, stream.unsent + PyBytes_GET_SIZE(data))
        self.insert(stream)
        return 0

    cdef void count_backlog(self, SendingStream stream, long long unsent) noexcept:
        self.backlog += min(unsent, <long long>COUNTED) - min(stream.unsent, <long long>COUNTED)
        stream.unsent = unsent

    cdef void insert(self, SendingStream stream) noexcept:
        """Have a stream be sent as soon as the connection allows, if its own window does."""
        cdef Link* end = &self.ready[stream.urgency]
        cdef Link* after = end.previous
        cdef Link* link = &stream.link
        if link.next != NULL or stream.unsent == 0 or stream.window <= 0:
            return
        if not stream.incremental:
            while after != end and goes_before(stream, <SendingStream>after.stream):
                after = after.previous
        link.stream = <void*>stream
        link.previous = after
        link.next = after.next
        after.next.previous = link
        after.next = link

    cdef SendingStream most_urgent(self):
        cdef int urgency
        for urgency in range(URGENCIES):
            if self.ready[urgency].next != &self.ready[urgency]:
                return <SendingStream>self.ready[urgency].next.stream
        return None

    cdef int pump(self) except -1:
        """Send of what waits as much as the windows and the client allow."""
        cdef SendingStream stream
        cdef bint alone
        self.due = False
        while self.window > 0 and not self.writer.paused and not self.writer.broken:
            stream = self.most_urgent()
            if stream is None:
                break
            if self.cuts_small(stream):
                stream.wait_for_window()
                if self.window < stream.window:
                    break
                unlink(stream)
                continue
            alone = not stream.incremental or stream.link.next == stream.link.previous
            unlink(stream)
            self.send_some(stream, alone)
            self.insert(stream)
            stream.moved()
        return 0

    cdef bint cuts_small(self, SendingStream stream) noexcept:
        """Whether only a small piece could be cut off now, which is to wait for what the client owes."""
        cdef long long room = min(stream.window, self.window)
        if room >= SMALL or stream.waited or room >= PyBytes_GET_SIZE(stream.piece) - stream.at:
            return False
        return (self.owed if self.window < stream.window else stream.owed) > SMALL

    cdef int send_small(self, SendingStream stream) except -1:
        """Do not let a small piece wait any longer for a larger window."""
        stream.waited = True
        self.insert(stream)
        return self.pump()

    cdef int send_some(self, SendingStream stream, bint alone) except -1:
        """Send a frame of what waits; several if nobody else is waiting for the same."""
        cdef bytes piece = stream.piece
        cdef const char* data = PyBytes_AS_STRING(piece) + stream.at
        cdef Py_ssize_t rest = PyBytes_GET_SIZE(piece) - stream.at
        cdef Py_ssize_t size = <Py_ssize_t>min(<long long>rest, min(stream.window, self.window)), frames, part, index
        cdef char heads[FASTSERVE_MOST_SLICES * FRAME_HEAD]
        cdef bint last
        stream.waited = False
        if size < SMALL and size < rest and not spend_cheap(&self.guard, self.clock.now()):
            self.excessive = True
        if alone and size >= COPIED and self.writer.fd >= 0:
            size = min(size, FASTSERVE_MOST_SLICES * self.largest)
            if size < rest and size % self.largest < SMALL:
                size -= size % self.largest  # the rest of the window is for the next call
            last = stream.ends and stream.last_fields is None and size == stream.unsent
            frames = (size + self.largest - 1) // self.largest
            for index in range(frames):
                part = min(self.largest, size - index * self.largest)
                fill_head(heads + index * FRAME_HEAD, part, DATA, END_STREAM if last and index == frames - 1 else 0, stream.id)
            size = self.writer.commit_slices(heads, FRAME_HEAD, data, size, self.largest)
            if size <= 0:
                return 0
            frames = (size + self.largest - 1) // self.largest
            spend(self, stream, size)
            note_sent(&self.guard, size)
            self.guard.updates += 10 * (frames - 1)
            if last and size == stream.unsent:
                stream.ends_sent = True
            return self.left(stream, size)
        size = min(size, self.largest)
        last = stream.ends and stream.last_fields is None and size == stream.unsent
        self.put_data(stream, data, size, last)
        return self.left(stream, size)

    cdef int left(self, SendingStream stream, Py_ssize_t size) except -1:
        """So much of what waited has left."""
        stream.at += size
        self.count_backlog(stream, stream.unsent - size)
        if stream.at == PyBytes_GET_SIZE(stream.piece):
            stream.at = 0
            stream.piece = stream.pieces.popleft() if stream.pieces else None
        if stream.unsent == 0 and stream.ends and not stream.ends_sent:
            return self.put_end(stream)
        return 0

    cdef int opened(self, SendingStream stream, long long more) except -1:
        """The client takes more of a stream, or of the connection if it is None; 1 if it is more than there can be."""
        if stream is None:
            self.window += more
            self.owed = max(self.owed - more, 0)
            if self.window > LARGEST_WINDOW:
                return 1
            self.due = True
            return 0
        stream.owed = max(stream.owed - more, 0)
        return self.resize(stream, more)

    cdef int resize(self, SendingStream stream, long long change) except -1:
        """Change the window of a stream, to less perhaps; 1 if it is more than there can be."""
        stream.window += change
        if stream.window > LARGEST_WINDOW:
            return 1
        if stream.window <= 0:
            self.take_out(stream)
        elif stream.unsent:
            self.insert(stream)
            self.due = True
        return 0

    cdef int prioritise(self, SendingStream stream, bytes value) except -1:
        """Take the value of a Priority field (RFC 9218 section 4); what it does not say is as by default."""
        cdef bint waits = stream.link.next != NULL
        unlink(stream)
        stream.urgency = DEFAULT_URGENCY
        stream.incremental = False
        for member in value.split(b","):
            member = member.partition(b";")[0].strip(b" \t")
            if member == b"i" or member == b"i=?1":
                stream.incremental = True
            elif member == b"i=?0":
                stream.incremental = False
            elif len(member) == 3 and member.startswith(b"u=") and b"0" <= member[2:] <= b"7":
                stream.urgency = <int>member[2] - 48
        if waits:
            self.insert(stream)
            self.due = True
        return 0

    cdef void forget(self, SendingStream stream) noexcept:
        """Nothing more of it is sent."""
        self.take_out(stream)
        self.count_backlog(stream, 0)
        stream.piece = stream.pieces = stream.last_fields = None

    cdef void take_out(self, SendingStream stream) noexcept:
        """Let those go on that may have waited for this one."""
        if stream.link.next != NULL:
            unlink(stream)
            self.due = True


cdef inline bint goes_before(SendingStream one, SendingStream other) noexcept:
    return other.incremental or one.id < other.id
