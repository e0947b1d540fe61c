"""The bodies that the client of a connection sends, and how much of them it may send (RFC 9113 section 5.2).

Windows go back for what applications took, not for what has come. No sum of what streams are promised exceeds the window
of the connection, so that applications which do not read never stop the uploads beside them.
"""
from libc.stdint cimport uint32_t

from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from ..transport.low_water cimport make_low_water
from ..worker cimport Worker
from .flow cimport FIRST_WINDOW
from .frames cimport END_STREAM, FrameParser, WINDOW_UPDATE, put_number
from .replies cimport Replies
from .stream cimport Http2Stream

cdef enum:
    SPARE_WINDOW = 1 << 23  # of the connection, beyond the first windows of all its streams
    RETURNED = 1 << 15  # bytes that are worth a frame where the client has little left
    LARGE_REST = 65536  # bytes of a body that are still to come
    TOPPED = 1 << 20  # the window of a stream whose application takes what comes
    LARGEST_TOPPED = 1 << 22  # the same once it has taken very much, and all that was there
    UNTAKEN = 1 << 26  # bytes of all connections that no application has taken, beyond which no window grows


cdef Uploads make_uploads(Worker worker, object transport, FrameParser parser, Replies replies):
    cdef Uploads self = Uploads.__new__(Uploads)
    self.worker = worker
    self.transport = transport
    self.parser = parser
    self.replies = replies
    self.whole = self.credit = (FIRST_WINDOW + 1) * worker.settings.limit_http2_streams + SPARE_WINDOW
    self.spare = SPARE_WINDOW - 2 * RETURNED
    return self


cdef class Uploads:
    # What comes

    cdef bint spend(self, Py_ssize_t size) noexcept:
        """A DATA frame of this size begins. Return false where the window of the connection has no room for it."""
        self.receiver = None
        if size > self.credit:
            return False
        self.credit -= size
        return True

    cdef int begin(self, Http2Stream stream) except -1:
        """The frame is of the body of this stream, whose window has room for it."""
        stream.credit -= self.parser.length
        self.receiver = stream
        return self.give_back(self.parser.overhead) if self.parser.overhead else 0

    cdef int receive(self, Http2Stream stream, bytes data) except -1:
        """A piece of the frame has come within `data`, and somebody wants it."""
        cdef FrameParser parser = self.parser
        cdef Py_ssize_t following
        self.worker.untaken += parser.size
        stream.untaken += parser.size
        if parser.size == PyBytes_GET_SIZE(data):
            return stream.receive(data)
        if stream.websocket is not None:
            return stream.receive(PyBytes_FromStringAndSize(<const char*>parser.data, parser.size))
        following = 0 if stream.gathered is not None else parser.following(
            <const unsigned char*>PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(data)
        )
        return stream.gather(<const char*>parser.data, parser.size, following)

    cdef int end(self) except -1:
        """All of the frame has come."""
        self.receiver = None
        return 0

    cdef int note(self, Http2Stream stream, Py_ssize_t size) except -1:
        """A large read has ended within or with a body: be woken less often while more of it is sure to follow."""
        cdef long long more = 0
        if stream is not None and not stream.ended and stream.content_length >= 0:
            more = min(stream.content_length - stream.received, min(stream.credit, self.credit))
        if self.low_water is None:
            if more < LARGE_REST:
                return 0
            self.low_water = make_low_water(self.transport, self.worker.loop)
        return self.low_water.note(size, more)

    cdef int discard(self, Http2Stream stream) except -1:
        """Let the client go on with a body that nobody wants, for the sake of clients that see their response only once
        they have sent all of it."""
        if self.parser.last and self.parser.flags & END_STREAM:
            return 0
        if stream.credit < FIRST_WINDOW // 2:
            self.reopen(stream)
        stream.discard()
        return 0

    cdef int reopen(self, Http2Stream stream) except -1:
        """Give a stream whose body nobody wants its first window again."""
        self.replies.open_window(stream.id, FIRST_WINDOW - stream.credit)
        stream.credit = FIRST_WINDOW
        return 0

    # What applications take

    cdef int want(self, Http2Stream stream) except -1:
        """The application waits for the body."""
        if stream.target < TOPPED:
            stream.target = TOPPED
        elif stream.received >= 2 * stream.target and stream.target < LARGEST_TOPPED:
            stream.target *= 2
        return self.top_up(stream)

    cdef int took_frames(self, Http2Stream stream) except -1:
        # Small messages that come often get along with a first window.
        stream.target = TOPPED if stream.expects_much() else FIRST_WINDOW
        return self.took(stream, 0)

    cdef int took(self, Http2Stream stream, Py_ssize_t left) except -1:
        cdef long long size = stream.untaken - left
        stream.untaken = left
        self.worker.untaken -= size
        self.give_back(size)
        return 0 if stream.ended else self.top_up(stream)

    cdef int give_back(self, long long size) except -1:
        """Let the client send as many bytes again on the connection."""
        self.taken += size
        if self.taken < self.whole // 2 and (self.credit > self.whole // 2 or self.taken < RETURNED):
            return 0
        if self.replies.writer.broken:
            return 0
        # Not counted as unread: what a client has to send for one of these is much more.
        put_number(self.replies.room(0), WINDOW_UPDATE, 0, <uint32_t>self.taken)
        self.credit += self.taken
        self.taken = 0
        return 0

    cdef int top_up(self, Http2Stream stream) except -1:
        """Let the client send more of a body, as far as its application has kept up and the connection allows."""
        cdef long long has = stream.credit + stream.untaken
        cdef long long extra = max(has - FIRST_WINDOW, 0), most, due, rest
        self.promised += extra - stream.promised
        stream.promised = extra
        most = stream.target if self.worker.untaken < UNTAKEN else <long long>FIRST_WINDOW
        # Never more than half of what is left for all streams together.
        most = min(most, max(has, FIRST_WINDOW) + max(self.spare - self.promised, 0) // 2)
        due = most - has
        rest = most
        if stream.content_length >= 0:
            # One more than is left: some clients, nghttp2's among them, cannot even send END_STREAM through a closed window.
            rest = stream.content_length - stream.received + 1
            due = min(due, rest - stream.credit)
        if due <= 0 or stream.credit > 0 and 2 * due < min(most, rest):
            return 0
        extra = max(has + due - FIRST_WINDOW, 0)
        self.promised += extra - stream.promised
        stream.promised = extra
        stream.credit += due
        return self.replies.open_window(stream.id, due)

    # The end

    cdef int forget(self, Http2Stream stream) except -1:
        """A stream is closed: the client may send as much again on others."""
        if self.receiver is stream:
            self.receiver = None
            self.give_back(self.parser.left - self.parser.padding)
        if stream.untaken:
            self.worker.untaken -= stream.untaken
            self.give_back(stream.untaken)
            stream.untaken = 0
        self.promised -= stream.promised
        stream.promised = 0
        return 0

    cdef int abandon(self, Http2Stream stream) except -1:
        """The connection ends, and this stream with it."""
        self.receiver = None
        self.worker.untaken -= stream.untaken
        stream.untaken = 0
        return 0

    cdef int close(self) except -1:
        """What the client still sends is discarded."""
        return 0 if self.low_water is None else self.low_water.lower()

    cdef int lost(self) except -1:
        return 0 if self.low_water is None else self.low_water.lost()
